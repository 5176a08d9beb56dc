"""The one exception that the command line turns into one clear line."""


class Face2ExpError(Exception):
    """A mistake of the user's that the message names together with the way out."""
