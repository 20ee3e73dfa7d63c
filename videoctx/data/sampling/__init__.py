"""Sampling: which videos each rank reads, and which frames make their clips."""
