"""The public names as a notebook uses them, for the type checker: this file is not run."""

from pathlib import Path
from typing import assert_type

from torch import Tensor

import anamodiff
from anamodiff import (
    AdaptationOptions,
    AnaMoDiffError,
    AnaMoDiffPipeline,
    Backbone,
    Clip,
    GenerationOptions,
    MotionTransfer,
    Result,
    TuningOptions,
)


def one_call() -> None:
    result = anamodiff.transfer(
        "source.gif", Path("driving.gif"), prompt="a turtle", frames=16, start_frame="auto",
        tuning={"iterations": 100}, generation=GenerationOptions(steps=20), memory={"vram": 8},
    )  # fmt: skip
    assert_type(result, Result)
    assert_type(result.frames, Tensor)
    assert_type(result.save("out.gif"), Path)


def two_halves() -> None:
    run = anamodiff.tune("source.gif", "driving.gif", prompt="a turtle")
    assert_type(run, Path)
    assert_type(anamodiff.generate(run, seed=1), Result)


def many() -> None:
    mover = MotionTransfer.load("mini", device="cpu", preset="fast")
    assert_type(mover, MotionTransfer)
    assert_type(mover.backbone, Backbone)
    clip = anamodiff.read_clip("source.gif", size=mover.backbone.image_size)
    assert_type(clip, Clip)
    options = mover.resolve(adaptation=AdaptationOptions(scale="none"), tuning={"lr": 1e-4})
    assert_type(options.tuning, TuningOptions)

    def show(stage: str, done: int, total: int, loss: float | None) -> None:
        print(stage, done, total, loss)

    result = mover.transfer(clip, clip, prompt="a turtle", progress=show)
    assert_type(result.canvas, Tensor)
    assert_type(anamodiff.transfer_many("list.csv").table, str)


def pipeline() -> None:
    pipe = AnaMoDiffPipeline.from_pretrained("mini", lofnet="mini")
    assert_type(pipe, AnaMoDiffPipeline)
    assert_type(pipe.mover, MotionTransfer)


def looking(mover: MotionTransfer) -> None:
    examples = anamodiff.write_examples("examples")
    shown = anamodiff.preview(mover, examples.folder / "turtle.gif", "driving.gif", frames=8)
    assert_type(shown.warped, Tensor)
    assert_type(Clip.of(shown.warped, shown.fps), Clip)


def mistakes() -> str:
    try:
        return str(anamodiff.inspect("source.gif").sheet)
    except AnaMoDiffError as error:
        return str(error)
