"""Re-encode the videos of a manifest once, so that training reads them quickly and exactly."""
