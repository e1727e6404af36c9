from .clip import Clip, find_clips, read_clip, write_frames, write_video
from .foreground import foreground_mask
from .letterbox import Letterbox, crop_back
from .sampling import ClipError

__all__ = [
    "Clip",
    "ClipError",
    "Letterbox",
    "crop_back",
    "find_clips",
    "foreground_mask",
    "read_clip",
    "write_frames",
    "write_video",
]
