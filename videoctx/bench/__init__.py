"""Measurements: times and ratios within one run."""
