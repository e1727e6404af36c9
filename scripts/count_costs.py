"""Count operations and memory of Stable Diffusion v1.4, without weights or a GPU.

    python scripts/count_costs.py [flops | memory]...

Ten frames of 64x64 latents. The models are on torch's meta device, which keeps shapes alone, so it
takes about a minute on one core. The parts, both by default:

    flops     floating-point operations, a multiply-add as two, by torch's own counter; the UNet's
              attention as a flash kernel, whose backward pass computes its scores again
    memory    live tensors in bf16 at the peak, with the same kernel; tuning with Adam's state and
              single-precision copies of what is trained. The bars are what `--vram` promises

Most figures are printed with a reference, counted independently. Those of the UNet are up to 3 %
less here: frames 0 and 1 attend to their one set of keys once, and a prompt is projected once for
a clip, not for every frame.
"""

from __future__ import annotations

import argparse
from functools import partial

from costs import flops, memory
from costs.models import SD_V1_4, Architecture

from anamodiff.backbone.memory import VRAM_PRESETS

LAYERS = ("attention", "all")
MID_UP = {"blocks": "mid_up"}
TERA, PETA = 1e12, 1e15
# Name, count, unit, and the reference.
FLOPS = (
    ("UNet forward", flops.forward, TERA, 9.77),
    ("guided step", flops.guided_step, TERA, 19.55),
    ("training step of a clip", partial(flops.training, levels="none"), TERA, 23.3),
    ("  checkpoint_levels=all", partial(flops.training, levels="all"), TERA, 31.6),
    ("  lora_blocks=mid_up", partial(flops.training, levels="none", **MID_UP), TERA, 18.7),
    ("  both", partial(flops.training, levels="all", **MID_UP), TERA, 24.2),
    ("VAE encode, a frame", flops.encoding, TERA, 1.12),
    ("VAE decode, a frame", flops.decoding, TERA, 2.51),
    ("experiment", flops.experiment, PETA, 12.7),
    ("  checkpoint_levels=all", partial(flops.experiment, levels="all"), PETA, 16.8),
)  # fmt: skip
LIVE = {"all": 5, "top": 9, "none": 13}  # GiB, one clip a batch
BARS = {8: (6, 6), 12: (11, 6)}  # GiB: tuning, generation


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "part", nargs="*", choices=(*PARTS, []), metavar="part", help="flops, memory, or both"
    )
    for name in parser.parse_args(words).part or PARTS:
        PARTS[name](SD_V1_4)
    return 0


def print_flops(size: Architecture) -> None:
    print(f"{'':32}{'counted':>12}{'reference':>12}{'ratio':>8}")
    for name, count, unit, reference in FLOPS:
        found = count(size) / unit
        letter = "P" if unit == PETA else "T"
        print(f"{name:32}{found:10.2f} {letter}{reference:10.2f} {letter}{found / reference:8.2f}")


def print_memory(size: Architecture) -> None:
    print(f"{'GiB':32}{'tuning':>12}{'lora=all':>12}{'generation':>12}")
    for levels, reference in LIVE.items():
        peaks = (memory.tuning_peak(size, levels=levels, layers=layers) for layers in LAYERS)
        name = f"checkpoint_levels={levels}"
        print(f"{name:32}{_gib(*peaks)}{'':14}reference: {reference}")
    for vram, preset in VRAM_PRESETS.items():
        tuning, generation = memory.preset_peaks(size, preset, layers="attention")
        every, _ = memory.preset_peaks(size, preset, layers="all")
        bars = "bars: {} and {}".format(*BARS[vram]) if vram in BARS else ""
        print(f"{f'--vram {vram}':32}{_gib(tuning, every, generation)}  {bars}")


def _gib(*sizes: int) -> str:
    return "".join(f"{size / memory.GIB:12.2f}" for size in sizes)


PARTS = {"flops": print_flops, "memory": print_memory}

if __name__ == "__main__":
    raise SystemExit(main())
