from .flow import draw_key_points, flow_picture, grid_picture, mask_picture
from .sheets import contact_sheet, draw_points, save_picture, side_by_side
from .skeleton import draw_skeletons

__all__ = [
    "contact_sheet",
    "draw_key_points",
    "draw_points",
    "draw_skeletons",
    "flow_picture",
    "grid_picture",
    "mask_picture",
    "save_picture",
    "side_by_side",
]
