"""Errors of the package."""


class MicrotomeError(Exception):
    """The program ended with an error; ``code`` is its exit code."""

    def __init__(self, message, code=None):
        super().__init__(message)
        self.code = code


class FormatError(ValueError):
    """A file is not what it should be: damaged, of a later version, or of another program."""
