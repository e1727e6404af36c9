"""Plain text, such as a web page saved as a video."""

import codecs


def as_text(head: bytes) -> str:
    """A file's beginning as one line if it is plain text; empty for anything else.

    FFmpeg would render it as a video of a terminal.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # may end inside a letter
    except UnicodeDecodeError:
        return ""
    plain = all(letter.isprintable() or letter.isspace() or letter == "\x1b" for letter in text)
    return " ".join(text.split()) if plain else ""
