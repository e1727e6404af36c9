"""Suffixes of video and picture files: what is read, what is written."""

#: Suffixes that count as video files in a folder of clips.
VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".qt", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".mpe", ".m2v",
        ".ogv", ".wmv", ".asf", ".gif", ".flv", ".f4v", ".3gp", ".3g2", ".ts", ".mts", ".m2ts",
        ".vob", ".mxf", ".dv", ".mod", ".tod", ".divx", ".mjpeg", ".y4m", ".apng",
    )
)  # fmt: skip

#: Suffixes that count as frames in a folder.
PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
)

#: Video files that are written.
WRITTEN_SUFFIXES = (".mp4", ".gif", ".webm", ".mov", ".m4v", ".mkv")

#: Animated pictures that are written as videos are.
ANIMATED_SUFFIXES = (".webp", ".apng")

#: Files among both that hold alpha.
ALPHA_SUFFIXES = (".webm", ".webp", ".apng", ".gif")

#: Files that are no video file which is written, and no folder either.
OTHER_SUFFIXES = (
    VIDEO_SUFFIXES | PICTURE_SUFFIXES
    | {".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg", ".pdf", ".mp3", ".m4a", ".wav", ".zip"}
    | {".json", ".csv", ".tsv", ".yaml", ".yml", ".txt", ".html", ".pt", ".ckpt", ".safetensors"}
) - {*WRITTEN_SUFFIXES, *ANIMATED_SUFFIXES}  # fmt: skip
