"""Text in and out of consoles whose encoding lacks letters."""

import io
import os
import sys


def print_any_name() -> None:
    """Names of files may hold letters that the console's encoding lacks: they are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def readable(words: str) -> str:
    """Words that an ASCII locale gave us as bytes in disguise; names of files stay as they are."""
    return os.fsencode(words).decode("utf-8", "replace") if not _is_text(words) else words


def _is_text(words: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in words)
