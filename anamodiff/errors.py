"""The library's own exceptions."""


class AnaMoDiffError(ValueError):
    """A mistake in the input that the user can mend.

    The message is one line: what was expected, what came, what to do. The command line prints it
    without a traceback.
    """
