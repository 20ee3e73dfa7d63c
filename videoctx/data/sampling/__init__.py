"""Sampling: which videos a rank reads, and which frames make their clips."""
