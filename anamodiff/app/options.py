"""The options of the page."""

from __future__ import annotations

from dataclasses import dataclass

from anamodiff.fields import Options, setting


@dataclass(frozen=True, kw_only=True)
class AppOptions(Options):
    """The page (`anamodiff app`)."""

    host: str = setting(
        "127.0.0.1",
        "address that the page answers on; 0.0.0.0 lets everybody in the network use it",
        flag="--host", metavar="ADDRESS",
    )  # fmt: skip
    port: int | None = setting(
        None, "port (default: the first free one from 7860 on)", low=1, high=65535, flag="--port"
    )
    browser: bool = setting(False, "open the page in the browser", flag="--browser")
    max_mb: int = setting(100, "megabytes of an upload at most; of a zip, of what is in it", low=1)
    max_frames: int = setting(3000, "frames of an uploaded clip at most", low=2)
    max_megapixels: float = setting(50.0, "megapixels of an uploaded frame at most", above=0)
    max_steps: int = setting(1000, "tuning iterations, and sampling steps, of a run at most", low=1)
    queue: int = setting(8, "people who may wait while one transfer runs", low=1)
    keep_minutes: int = setting(60, "minutes after which uploads and results are deleted", low=1)
