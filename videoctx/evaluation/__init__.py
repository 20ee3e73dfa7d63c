"""Scores of views, and what is computed from them: metrics, intervals, comparisons and the report.

Import from its modules. The package itself imports nothing, because the command line reads `choices` without torch.
"""
