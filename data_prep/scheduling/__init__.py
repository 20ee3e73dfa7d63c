"""Running one function on many items, in processes of this machine or on a cluster."""
