"""Turn videos of your own, or those of a public dataset, into a manifest."""
