"""Loading: from a sample index to a batch of decoded videos, in processes that can be killed."""
