"""Train a rival of the benchmark: `python scripts/train_baseline.py tps|fomm RUN --clips DIR...`

Unsupervised, on pairs of frames of the clips in the folders; true answers (`truth.*`), masks and
`bench/` are left out. RUN is a folder for the state, the weights, the log and a sheet of
reconstructions; the same command goes on where a kill left it, also where the run is to be over
after so many `--seconds`. `--smoke` runs everything once on a tiny network, in less than a minute.

`--drawn` adds drawn characters, of the species that the method's own networks learn from. On a GPU,
for example: `--device cuda --seconds 390 --batch 40 --drawn 2000 --workers 6 --bank FOLDER`; two
runs may name one bank, which one of them fills.

What is compared are features of the embedded autoencoder; published are those of VGG-19, for which
`--vgg` names torchvision's `vgg19-dcbb9e9d.pth`. `RUN` is then a method of the benchmark:
`anamodiff benchmark creatures --methods anamodiff --method NAME=RUN`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import torch  # noqa: E402
from baselines.clips import Bank, Wanted  # noqa: E402
from baselines.features import VGGFeatures, autoencoder_features  # noqa: E402
from baselines.objective import measure  # noqa: E402
from baselines.training import Options, Training, new_model, train  # noqa: E402
from joints.command import add_run_flags, given_options, resume_and_log, set_up_torch  # noqa: E402
from joints.state import logger  # noqa: E402

from anamodiff.baselines.perceptual import PerceptualLoss  # noqa: E402
from anamodiff.errors import AnaMoDiffError  # noqa: E402

SMOKE = Options(
    steps=4, batch=4, validation=4, minutes_log=0, minutes_save=0, minutes_measure=0, warmup=1,
    size=64, small=0.0,
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("kind", choices=("tps", "fomm"), help="which rival")
    made.add_argument("run", type=Path, help="folder of the state, the weights and the log")
    add_run_flags(made, Options)
    made.add_argument("--clips", type=Path, nargs="+", required=True, help="folders of clips")
    made.add_argument("--bank", type=Path, help="where decoded frames go (RUN/bank)")
    made.add_argument("--drawn", type=int, default=0, help="clips of drawn characters beside those")
    made.add_argument("--workers", type=int, default=0, help="processes that decode and draw")
    made.add_argument("--vgg", type=Path, help="VGG-19's weights, for the published loss")
    made.add_argument("--background", action="store_true", help="predict moving backgrounds (tps)")
    return made


def main(words: list[str] | None = None) -> int:
    """Train or measure; returns the exit code."""
    arguments = parser().parse_args(words)
    try:
        return _run(arguments)
    except AnaMoDiffError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    set_up_torch(arguments.threads)
    options = given_options(arguments, SMOKE if arguments.smoke else Options())
    say = logger(arguments.run)
    wanted = Wanted(tuple(arguments.clips), options.size, arguments.drawn)
    bank = Bank.open(
        arguments.bank or arguments.run / "bank", wanted, say, device=arguments.device,
        workers=arguments.workers,
    )  # fmt: skip
    dtype = torch.bfloat16 if options.half else torch.float32
    features = VGGFeatures(arguments.vgg) if arguments.vgg else autoencoder_features(dtype)
    model = new_model(
        arguments.kind, options.size, tiny=arguments.smoke, background=arguments.background
    ).to(arguments.device)
    training = Training(model, options, arguments.run, bank, PerceptualLoss(features))
    training.started = STARTED
    say = resume_and_log(training)
    say(f"{len(bank.names)} clips on {arguments.device} after {time.monotonic() - STARTED:.1f} s")
    if arguments.measure:
        for name, batches in training.validation_sets().items():
            say(f"{name}: {measure(training.averaged, batches).line()}")
        return 0
    train(training, say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
