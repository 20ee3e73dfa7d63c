"""The base class of errors that the command line reports in one line."""


class UserError(RuntimeError):
    """An error that the user can do something about.

    The message names what is at fault and what would be accepted. The command line prints it without a traceback.
    Errors of a value or of a file are a `ValueError` or an `OSError` instead.

    >>> raise UserError("clip.mp4: the file is empty")
    Traceback (most recent call last):
    videoctx.user_error.UserError: clip.mp4: the file is empty
    """
