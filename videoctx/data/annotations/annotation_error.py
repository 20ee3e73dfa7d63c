"""The error of everything that reads or writes annotations."""


class AnnotationError(ValueError):
    """A manifest or class file cannot be used. The message names the file, the line and what is expected."""
