"""`videoctx bench gpu`: everything that needs a GPU, in parts of a few minutes that can be interrupted and resumed."""
