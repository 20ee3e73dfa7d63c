"""Readers of the annotation files of public datasets, one file per dataset; each returns a `listing.Listing`."""
