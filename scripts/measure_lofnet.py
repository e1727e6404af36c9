"""Print LOFNet's latent error on clips it has not seen, relative to the identity flow's.

    python scripts/measure_lofnet.py CLIP [CLIP ...] [--backbone mini] [--lofnet FOLDER]

Each clip is warped from its own first frame along its own motion, so the truth is known. Folders
stand for the clips in them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from anamodiff.lofnet import self_reconstruction
from anamodiff.pipeline import MotionTransfer
from anamodiff.video import find_clips, read_clip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--lofnet")
    arguments = parser.parse_args()
    mover = MotionTransfer.load(arguments.backbone, arguments.lofnet, device="cpu")
    paths = [p for clip in arguments.clips for p in (find_clips(clip) if clip.is_dir() else [clip])]
    errors, identities = [], []
    for path in paths:
        frames = read_clip(path, size=mover.backbone.image_size, minimum=2).frames
        latents = mover.backbone.encode(frames)
        error, identity = self_reconstruction(mover.lofnet, frames, latents)
        errors.append(error)
        identities.append(identity)
        name = "/".join(path.parts[-2:])
        print(f"{name:48} error {error:.4f} identity {identity:.4f} ratio {error / identity:.3f}")
    ratios = [e / i for e, i in zip(errors, identities, strict=True)]
    total = sum(errors) / sum(identities)
    print(f"{len(paths)} clips: error over identity {total:.3f} of the sums,")
    print(f"{sum(ratios) / len(ratios):.3f} on the mean of clips")


if __name__ == "__main__":
    main()
