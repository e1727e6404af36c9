"""Which stream of a file is the film: not its cover, thumbnails or tiles."""

import av
from av.stream import Disposition

_ASIDE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent


class NoFilm(Exception):
    """A file that nothing can be shown of: what it holds, and the cure."""

    def __init__(self, got: str, cure: str) -> None:
        super().__init__(got)
        self.got, self.cure = got, cure


def main_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The film; of several those of more than one frame, then the default one, then the largest.

    Raises:
        NoFilm: there is none, or no decoder for it.
    """
    films = [stream for stream in container.streams.video if not stream.disposition & _ASIDE]
    if not films:
        raise NoFilm(_without_film(container), "name a film or an animation")
    shown = [stream for stream in films if stream.codec_context is not None]
    if not shown:
        raise NoFilm(
            f"a film or picture in a format for which there is no decoder here (in a "
            f"{container.format.name.partition(',')[0]} file)",
            "export it as mp4 (H.264) or png",
        )

    def rank(stream: av.VideoStream) -> tuple[bool, bool, int]:
        default = bool(stream.disposition & Disposition.default)
        return stream.frames != 1, default, stream.width * stream.height

    return max(shown, key=rank)


def _without_film(container: av.container.InputContainer) -> str:
    """What a file without a film holds, in words."""
    cover = bool(container.streams.video)
    if container.streams.audio:
        return "no film in it, only sound with a cover" if cover else "no picture in it, only sound"
    return "no film in it, only a cover or tiles" if cover else "no picture in it"
