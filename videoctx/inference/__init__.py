"""A trained network at work: on videos, along a long video, on what a camera sees, and exported."""
