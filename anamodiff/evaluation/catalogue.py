"""The measures by name: what tables call them, what they compare, and which way is better."""

from __future__ import annotations

#: Each measure's title, and what it compares.
TITLES = {
    "foreground_iou": ("foreground IoU", "motion: with the truth's foreground; 1 is best"),
    "motion_fidelity_truth": (
        "Motion Fidelity (truth)",
        "directions in which points move, with the truth's; 1 is best",
    ),
    "motion_fidelity_driving": (
        "Motion Fidelity (driving)",
        "directions in which points move, with the driving clip's; 1 is best",
    ),
    "pck": ("PCK 0.1", "joints within 0.1 of the body's longer side of the truth's; 1 is best"),
    "masked_ssim": ("SSIM inside", "in the union of the foregrounds; 1 is best"),
    "masked_psnr": ("PSNR inside", "likewise, in dB; higher is better"),
    "lpips": ("LPIPS", "perceptual distance to the truth; 0 is best"),
    "truth_distance": ("truth distance", "Lab, where both foregrounds are; 0 is best"),
    "flicker": ("flicker", "changes unlike the truth's, in levels of 255; 0 is best"),
    "colour_distance": ("colour distance", "Lab, to the source's colours; 0 is best"),
    "appearance_consistency": (
        "appearance consistency",
        "each frame with the source's first, mean cosine",
    ),
    "temporal_consistency": ("temporal consistency", "each frame with the next, mean cosine"),
    "clip_image": ("CLIP-Image", "first frame with each later one, mean cosine"),
    "clip_image_times_ten": ("CLIP-Image, mean x 10", "the same, times ten"),
    "clip_image_sum_over_ten": (
        "CLIP-Image, sum over ten frames",
        "first frame with each of ten, itself included",
    ),
    "clip_text": ("CLIP-Text", "each frame with the text, mean cosine"),
    "clip_text_times_ten": ("CLIP-Text, mean x 10", "the same, times ten"),
    "clip_text_sum_over_ten": ("CLIP-Text, sum over ten frames", "ten frames with the text"),
    "clip_pairs": ("CLIP all pairs", "each two distinct frames, mean cosine"),
    "clip_identity": ("CLIP identity", "each frame with each of the source's, mean cosine"),
}
LESS_IS_BETTER = ("lpips", "truth_distance", "flicker", "colour_distance")


def title(measure: str) -> str:
    """What tables call a measure."""
    return TITLES[measure][0]


def heading(measure: str) -> str:
    """The title with an arrow to the better side."""
    return f"{title(measure)} {'↓' if measure in LESS_IS_BETTER else '↑'}"


def in_order(measures: dict[str, float]) -> dict[str, float]:
    """Values in the order of `TITLES`."""
    return {name: measures[name] for name in TITLES if name in measures}
