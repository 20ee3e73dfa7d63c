"""Video action recognition with spatiotemporal context blocks."""
