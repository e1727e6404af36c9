"""The library's own exceptions, and one line for those of the system."""

from __future__ import annotations

import errno

#: What was expected, and what to do, by the system's number for what came.
_SYSTEM = {
    errno.ENOSPC: ("space left on the device", "free some and repeat the command"),
    errno.EDQUOT: ("space left in your quota", "free some and repeat the command"),
    errno.EROFS: ("a place that can be written", "choose a folder that is not read-only"),
    errno.EACCES: ("a file or folder that may be used", "change its permissions or name another"),
    errno.EPERM: ("a file or folder that may be used", "change its permissions or name another"),
    errno.ENOENT: ("a file or folder that is there", "correct the name"),
    errno.ENOTDIR: ("a folder", "a part of the path is a file: correct the name"),
    errno.EEXIST: ("a folder", "there is a file of this name: name another"),
    errno.EISDIR: ("a file", "this is a folder: name a file"),
    errno.ENAMETOOLONG: ("a name that the system takes", "name a shorter one"),
    errno.EMFILE: ("files that can be opened", "raise the limit (ulimit -n) or close programs"),
}
MOST = 400  # letters of a line that came from elsewhere


class AnaMoDiffError(ValueError):
    """A mistake in the input that the user can mend.

    The message is one line: what was expected, what came, what to do. The command line prints it
    without a traceback.
    """


def explain_os_error(error: OSError) -> str:
    """One line for what the system refused: what was expected, what came, what to do."""
    if error.errno is None or error.strerror is None:
        return one_line(str(error)) or type(error).__name__
    expected, cure = _SYSTEM.get(error.errno, ("to read or write", "look at the file and disk"))
    where = f" from {shorten(str(error.filename), 200)}" if error.filename else ""
    return f"expected {expected}, got '{error.strerror.lower()}'{where}; {cure}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, a graphics card's or the machine's, did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True  # torch's own, without importing torch
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def one_line(text: str) -> str:
    """Text without line breaks, of at most `MOST` letters."""
    return shorten(" ".join(text.split()), MOST)


def shorten(text: str, most: int) -> str:
    """A text's beginning and end where it is longer than `most` letters."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
