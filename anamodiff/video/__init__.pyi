from .canvas import Letterbox
from .clip import Clip, read_clip, write_frames, write_video
from .find import find_clips
from .foreground import foreground_mask
from .letterbox import crop_back
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
