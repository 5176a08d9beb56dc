"""The exceptions that the command line turns into one clear line."""


class Face2ExpError(Exception):
    """A mistake of the user's that the message names together with the way out."""


class RunStopped(Exception):
    """Training ended because the system asked it to; `--resume` goes on."""
