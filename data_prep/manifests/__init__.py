"""Manifests and the video files that they list: what several commands read and write."""
