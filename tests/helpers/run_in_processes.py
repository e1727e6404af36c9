"""Run by `accelerate launch` in several processes: each writes its pairs and final weights down.

python run_in_processes.py CLIPS OUTPUT
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from lofnet_samples import TINY, FakeBackbone

from anamodiff.lofnet.model import build_lofnet
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.train import train_lofnet


class Killed(Exception):
    pass


def kill(step: int, figures: dict[str, float]) -> None:
    if step == 4:
        raise Killed


def train(clips: Path, output: Path, **options: object) -> dict:
    """One run in all processes: what this one encoded, its pairs and its final weights."""
    backbone, sampled, sample_pairs = FakeBackbone(), [], LatentClips.sample_pairs

    def watched(self: LatentClips, *args: object, **kwargs: object):
        pairs = sample_pairs(self, *args, **kwargs)
        if "chosen" in kwargs:  # in training, not when measuring
            sampled.append(pairs.latents.sum().item())
        return pairs

    torch.manual_seed(0)
    model = build_lofnet(TINY)
    LatentClips.sample_pairs = watched
    try:
        train_lofnet(
            clips, backbone=backbone, output=output, model=model, batch_size=2, warmup=1,
            progress=False, **options,
        )  # fmt: skip
    except Killed:
        pass
    finally:
        LatentClips.sample_pairs = sample_pairs
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return {
        "encoded": backbone.encoded,
        "sampled": sampled,
        "weights": hashlib.sha256(weights).hexdigest(),
    }


def main(clips: Path, output: Path) -> None:
    short = {"steps": 6, "save_every": 3, "log_every": 1}
    found = {
        "whole": train(clips, output / "whole", **short),
        "cut": train(clips, output / "cut", on_step=kill, **short),
        "resumed": train(clips, output / "cut", resume=True, **short),
        "stopped": train(clips, output / "stopped", steps=40, measure_every=1, patience=1),
    }
    state = PartialState()
    (output / f"process{state.process_index}.json").write_text(json.dumps(found))
    # A process that ends while the other still talks to it may be aborted by its own threads.
    state.wait_for_everyone()
    state.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
