"""Transforms: from decoded frames to network input, on the device."""
