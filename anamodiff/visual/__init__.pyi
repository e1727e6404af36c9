from .flow import flow_picture, grid_picture
from .sheets import contact_sheet, draw_points, save_picture, side_by_side

__all__ = [
    "contact_sheet",
    "draw_points",
    "flow_picture",
    "grid_picture",
    "save_picture",
    "side_by_side",
]
