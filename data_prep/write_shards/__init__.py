"""Pack the videos of a manifest into tar shards in WebDataset layout."""
