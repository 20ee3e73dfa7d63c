"""Write a small synthetic dataset whose classes are the motions of two shapes."""
