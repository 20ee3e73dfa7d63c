"""Write a synthetic dataset whose classes relate the colors of shapes at different times."""
