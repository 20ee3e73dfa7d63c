"""Decoding: what a file contains, and its frames at given indices."""
