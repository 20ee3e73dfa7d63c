"""Measurements of speed and memory: times, and ratios within one run."""
