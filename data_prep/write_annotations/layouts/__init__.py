"""Readers of public datasets' own annotation files, one file a dataset; each gives a `listing.Listing`."""
