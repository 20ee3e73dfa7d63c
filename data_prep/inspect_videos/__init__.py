"""Decode every video of a manifest once, record what it contains, and find duplicates."""
