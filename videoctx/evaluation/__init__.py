"""Evaluation: accuracy per clip and per video, and the scores behind it."""
