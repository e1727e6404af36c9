"""Presets for graphics memory: which is taken, what it sets, and what a run does then."""

import json
import logging
from typing import get_args

import pytest
import torch

from anamodiff.backbone.memory import (
    NEEDS,
    ROOMY,
    VRAM_PRESETS,
    Memory,
    choose_memory,
    peak_memory,
)
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import MemoryOptions, TuningOptions, Vram, resolve
from anamodiff.run.folder import RunFolder
from anamodiff.run.motion_transfer import MotionTransfer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def free(monkeypatch):
    """Sets what a CUDA device that is not there says is free, in GiB."""

    def say(gib: float) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(gib * 2**30), 80 * 2**30))

    return say


def test_the_command_line_knows_every_preset():
    assert {"auto", *VRAM_PRESETS} == {"auto", *NEEDS} == set(get_args(Vram))


@pytest.mark.parametrize(
    ("gib", "expected"),
    [(3.0, 8), (7.6, 8), (11.4, 12), (14.6, 16), (23.2, 24), (ROOMY - 0.1, 24), (ROOMY, None)],
)
def test_auto_takes_what_fits_into_what_is_free(free, caplog, gib, expected):
    free(gib)
    with caplog.at_level(logging.INFO, "anamodiff"):
        assert choose_memory(CUDA) == (Memory() if expected is None else VRAM_PRESETS[expected])
        assert choose_memory(CUDA, MemoryOptions(vram="auto")) == choose_memory(CUDA)
    assert (f"settings for {expected} GiB ({gib:.1f} GiB free" in caplog.text) == bool(expected)


def test_a_named_preset_asks_no_device_and_explicit_settings_win():
    assert choose_memory(CUDA, MemoryOptions(vram=8)) == VRAM_PRESETS[8]
    chosen = choose_memory(CUDA, MemoryOptions(vram=8, offload=False, frames_at_once=3))
    assert (chosen.offload, chosen.frames_at_once, chosen.checkpoint_levels) == (False, 3, "all")
    given = {"checkpoint_levels": "top", "clips_at_once": None, "rank": 3}
    tuning = resolve(tuning=given, memory=chosen.tuning).tuning
    assert (tuning.checkpoint_levels, tuning.clips_at_once, tuning.rank) == ("top", 1, 3)


def test_a_cpu_has_no_preset():
    assert choose_memory(CPU, MemoryOptions(vram=8)) == choose_memory(CPU) == Memory()
    assert choose_memory(CPU, MemoryOptions(vram=8, frames_at_once=1)).frames_at_once == 1


@pytest.mark.parametrize("wrong", [{"vram": 10}, {"vram": "much"}, {"frames_at_once": 0}])
def test_unknown_presets_are_refused(wrong):
    with pytest.raises(AnaMoDiffError, match=f"memory.{next(iter(wrong))}"):
        MemoryOptions(**wrong)


def test_less_memory_never_means_less_saving():
    order = {"none": 0, "top": 1, "all": 2}
    rows = [
        (order[p.checkpoint_levels], p.offload, -p.frames_at_once) for p in VRAM_PRESETS.values()
    ]
    assert rows == sorted(rows, reverse=True)
    # Their words are those of the settings that they stand for.
    for preset in VRAM_PRESETS.values():
        TuningOptions.build(preset.tuning)


def test_the_preset_reaches_tuning_and_the_record(tiny_backbone_folder, drawn_clips, tmp_path):
    mover = MotionTransfer.load(tiny_backbone_folder, device="cpu")
    mover.memory = VRAM_PRESETS[8]  # as if there were a GPU
    assert mover.resolve(tuning={"clips_at_once": 2}).tuning.clips_at_once == 2
    settings = {"frames": 3, "prompt": "a turtle", "progress": False}
    tuning = {"iterations": 1, "rank": 2, "lora_blocks": "mid_up"}
    run = mover.tune(*drawn_clips, output=tmp_path / "run", tuning=tuning, **settings)
    noted = RunFolder.load(run).settings["tuning"]
    assert (noted["checkpoint_levels"], noted["clips_at_once"]) == ("all", 1)
    weights = (run / "weights" / "pytorch_lora_weights.safetensors").read_bytes()
    assert b"unet.mid_block" in weights and b"unet.down_blocks" not in weights
    # What saves memory may change before a run goes on: it is another machine, or a fuller one.
    mover.memory = VRAM_PRESETS[24]
    again = mover.tune(*drawn_clips, output=run, tuning=tuning, resume=True, **settings)
    assert again == run
    with pytest.raises(AnaMoDiffError, match="to resume"):
        mover.tune(*drawn_clips, output=run, tuning={**tuning, "rank": 3}, resume=True, **settings)


def test_offloaded_parts_work_on_the_device_and_rest_in_main_memory(tiny_backbone_folder):
    mover = MotionTransfer.load(
        tiny_backbone_folder, device="cpu", memory={"offload": True, "frames_at_once": 1}
    )
    backbone = mover.backbone
    assert backbone.frames_at_once == 1
    plain = MotionTransfer.load(tiny_backbone_folder, device="cpu").backbone
    frames = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(backbone.encode(frames), plain.encode(frames))
    assert next(backbone.unet.parameters()).device == backbone.rest_device == CPU
    # The meta device stands for a GPU: no numbers, but tensors are where they should be.
    backbone.device = torch.device("meta")
    assert next(mover.method.inflate(TuningOptions()).parameters()).device.type == "meta"
    assert next(backbone.unet.parameters()).device.type == "cpu"


def test_every_use_fetches_its_part_and_brings_it_back(tiny_backbone_folder, monkeypatch):
    backbone = MotionTransfer.load(tiny_backbone_folder, device="cpu").backbone
    backbone.rest_device = torch.device("meta")  # stands for main memory; nothing really moves
    moves: list[str] = []
    for name in ("vae", "text_encoder"):
        part = getattr(backbone, name)

        def to(device, name=name, part=part):
            moves.append(f"{name} {device}")
            return part

        monkeypatch.setattr(part, "to", to)
    backbone.decode(backbone.encode(torch.rand(1, 3, 64, 64)))
    assert moves == ["vae cpu", "vae meta"] * 2
    backbone.embed(["a turtle"])
    assert moves[4:] == ["text_encoder cpu", "text_encoder meta"]
    with pytest.raises(RuntimeError):
        backbone.decode(torch.rand(1, 3, 8, 8))  # three channels instead of four
    assert moves[-1] == "vae meta", "even when it fails"


def test_peaks_are_noted_by_stage_and_only_on_cuda(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5 * 2**30)
    peaks: dict[str, int] = {}
    with peak_memory(peaks, "tuning", CPU):
        pass
    run = RunFolder(tmp_path)
    run.note(peak_memory_cuda_mb=peaks)
    assert "peak_memory_cuda_mb" not in json.loads((tmp_path / "run.json").read_text())
    with peak_memory(peaks, "tuning", CUDA):
        pass
    run.note(peak_memory_cuda_mb=peaks)
    assert run.record["peak_memory_cuda_mb"] == {"tuning": 5120}
