"""The exceptions that the command line turns into one clear line."""


class Face2ExpError(Exception):
    """A mistake of the user's that the message names together with the way out."""


def in_words(error: Exception) -> str:
    """What was wrong, without the words that Python has for programmers."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start:,} is no UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return " ".join(str(error).split())


class RunStopped(Exception):
    """Training ended because the system asked it to; `--resume` goes on."""
