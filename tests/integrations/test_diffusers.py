"""`AnaMoDiffPipeline` and its blocks: diffusers' conventions, and the frames of `transfer`."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from PIL import Image

import anamodiff
from anamodiff.errors import AnaMoDiffError
from anamodiff.integrations import __path__ as FOLDER
from anamodiff.integrations.blocks import AnaMoDiffBlocks
from anamodiff.integrations.pipeline import AnaMoDiffPipeline, as_output, seed_of
from anamodiff.resources import find

QUICK = {"num_frames": 4, "tuning": {"iterations": 2, "rank": 2}, "output_type": "pt"}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.0",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def folder(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Stable Diffusion, as diffusers saves it, with random weights."""
    target = tmp_path_factory.mktemp("pipeline") / "tiny"
    shutil.copytree(tiny_backbone_folder, target)
    (target / "model_index.json").write_text(json.dumps(INDEX))
    (target / "anamodiff.json").write_text(json.dumps({"generation": {"steps": 3}}))
    return target


@pytest.fixture(scope="module")
def tiny(folder: Path) -> AnaMoDiffPipeline:
    pipeline = AnaMoDiffPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def result(folder, drawn_clips, tmp_path_factory) -> anamodiff.Result:
    output = tmp_path_factory.mktemp("transfer") / "run"
    return anamodiff.transfer(
        *drawn_clips, prompt="a green turtle", output=output, backbone=folder, frames=4, seed=5,
        tuning=QUICK["tuning"], progress=False, device="cpu",
    )  # fmt: skip


def test_the_embedded_backbone_gives_the_frames_of_a_transfer(
    drawn_clips, tmp_path, monkeypatch
) -> None:
    # diffusers copies custom pipelines into the user's cache.
    cache = "diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE"
    monkeypatch.setattr(cache, str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    generation = {"steps": 4, "denoise_from": 500}
    made = anamodiff.transfer(
        *drawn_clips, prompt="a turtle", output=tmp_path / "run", backbone="mini", frames=4, seed=7,
        tuning={"iterations": 2}, generation=generation, progress=False, device="cpu", size=128,
    )  # fmt: skip
    pipeline = DiffusionPipeline.from_pretrained(
        str(find("checkpoints/mini")), custom_pipeline=FOLDER[0], trust_remote_code=True, size=128
    )
    assert type(pipeline).__name__ == "AnaMoDiffPipeline"
    pipeline.set_progress_bar_config(disable=True)
    calls = []

    def called(pipe, step, timestep, tensors):
        calls.append((pipe is pipeline, step, timestep, tensors))

    with torch.inference_mode():  # as callers do around pipelines that only sample
        given = pipeline(
            *drawn_clips, "a turtle", 4, None, seeded(7), called, "pt", num_frames=4,
            tuning={"iterations": 2}, generation={"denoise_from": 500}, output=tmp_path / "again",
        )  # fmt: skip
    assert given.frames.shape == (1, 4, 3, 64, 64)
    torch.testing.assert_close(given.frames[0], (made.frames + 1) / 2, rtol=0, atol=0)
    assert given.fps == made.fps and given.run == tmp_path / "again"
    assert calls == [(True, 0, 251, {}), (True, 1, 1, {})]
    records = [json.loads((run / "run.json").read_text()) for run in (made.run, given.run)]
    assert records[0]["hashes"] == records[1]["hashes"]
    settings = [(run / "config.yaml").read_text() for run in (made.run, given.run)]
    assert settings[0] == settings[1]


def test_blocks_give_the_frames_of_a_transfer(folder, result, drawn_clips, tmp_path) -> None:
    pipeline = AnaMoDiffBlocks().init_pipeline(str(folder))
    pipeline.load_components()
    source, driving = drawn_clips
    state = pipeline(
        source=source, driving=driving, prompt="a green turtle", generator=seeded(5),
        progress=False, output_folder=tmp_path / "run", **QUICK,
    )  # fmt: skip
    torch.testing.assert_close(state.frames[0], (result.frames + 1) / 2, rtol=0, atol=0)
    assert state.frame_rate == result.fps and state.run == tmp_path / "run"
    again = AnaMoDiffBlocks().sub_blocks["generate"].init_pipeline(str(folder))
    again.load_components()
    frames = again(run=state.run, progress=False, output_type="np", output="frames")
    np.testing.assert_allclose(frames[0].transpose(0, 3, 1, 2), state.frames[0], atol=1e-6)


def test_frames_in_memory_are_as_good_as_files(tiny, result, drawn_clips, tmp_path) -> None:
    source, driving = (anamodiff.read_clip(path, frames=None) for path in drawn_clips)
    given = tiny(
        (source.frames + 1) / 2, (driving.frames + 1) / 2, ["a green turtle"],
        generator=[seeded(5)], fps=driving.fps, output=tmp_path / "run", **QUICK,
    )  # fmt: skip
    torch.testing.assert_close(given.frames[0], (result.frames + 1) / 2, rtol=0, atol=0)
    assert given.fps == pytest.approx(result.fps)


def test_frames_are_given_as_video_pipelines_do(result) -> None:
    (pictures,), arrays = as_output(result, "pil"), as_output(result, "np")
    assert [picture.size for picture in pictures] == [(64, 64)] * 4
    assert arrays.shape == (1, 4, 64, 64, 3)
    np.testing.assert_allclose(np.asarray(pictures[1]) / 255, arrays[0, 1], atol=0.5 / 255 + 1e-6)
    alpha = torch.full_like(result.shown[:, :1], -1.0)
    seen_through = replace(result, shown=torch.cat([result.shown, alpha], dim=1))
    assert as_output(seen_through, "pil")[0][0].getextrema()[3] == (0, 0)


def test_a_replaced_component_is_used(folder, drawn_clips) -> None:
    pipeline = AnaMoDiffPipeline.from_pretrained(folder)
    mover = pipeline.mover
    assert pipeline.mover is mover and mover.backbone.unet is pipeline.unet
    pipeline.unet = AnaMoDiffPipeline.from_pretrained(folder).unet
    assert pipeline.mover.backbone.unet is pipeline.unet is not mover.backbone.unet
    before = pipeline.mover
    assert pipeline.to(torch.bfloat16).mover is not before
    assert pipeline.mover.backbone.precision_name == "bf16"
    with pytest.raises(AnaMoDiffError, match="fp32, fp16, bf16, got one in torch.float64"):
        _ = pipeline.to(torch.float64).mover


def test_it_is_made_of_and_saved_as_a_stock_pipeline(folder, tmp_path) -> None:
    stock = StableDiffusionPipeline.from_pretrained(folder)
    pipeline = AnaMoDiffPipeline.from_pipe(stock)
    assert pipeline.unet is stock.unet
    pipeline.save_pretrained(tmp_path / "saved")
    again = AnaMoDiffPipeline.from_pretrained(tmp_path / "saved").mover
    assert again.resolve().generation.steps == 3
    assert again.lofnet_hashes == pipeline.mover.lofnet_hashes != {}


def test_the_schedule_is_the_file_s_without_the_defaults_of_diffusers(folder, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear"}
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    ours = anamodiff.Backbone.load(copy, device="cpu").schedule
    theirs = AnaMoDiffPipeline.from_pretrained(copy).mover.backbone.schedule
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert (ours.final_alpha, ours.steps_offset) == (theirs.final_alpha, theirs.steps_offset)


def test_options_are_kept_and_used(folder) -> None:
    pipeline = AnaMoDiffPipeline.from_pretrained(folder, precision="bf16", lofnet="mini")
    assert pipeline.mover.backbone.precision_name == "bf16"
    assert pipeline.mover.method.proxy is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output_type": "latent"}, "output_type pil, np, pt"),
        ({"prompt": ["a turtle", "a cat"]}, "one prompt, got 2"),
        ({"generator": [seeded(0), seeded(1)]}, "one generator, got 2"),
        ({"num_inference_steps": 0}, "steps"),
        ({"callback_on_step_end_tensor_inputs": ["latents"]}, "tensor_inputs"),
        ({"driving": Image.new("RGB", (64, 64))}, "at least 2 frames, got 1"),
        ({"source": torch.full((2, 3, 8, 8), -1.0)}, r"\[0, 1\] in the source, got \[-1, -1\]"),
        ({"source": 3}, "expected a source"),
        ({"driving": np.zeros((2, 3, 8, 8))}, "3 or 4 channels"),
        ({"fps": 0.0, "driving": np.zeros((2, 8, 8, 3))}, "rate above 0"),
        ({"source": [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 9))]}, "8x8 and 8x9"),
    ],
)
def test_mistakes_are_named(tiny, drawn_clips, tmp_path, monkeypatch, change, words) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"source": drawn_clips[0], "driving": drawn_clips[1], "prompt": "a turtle", **change}
    with pytest.raises(AnaMoDiffError, match=words):
        tiny(**given)
    assert not list(tmp_path.iterdir())


def test_what_a_callback_raises_ends_the_transfer(tiny, drawn_clips, tmp_path) -> None:
    def stop(*_):
        raise KeyboardInterrupt

    options = {**QUICK, "output": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        tiny(*drawn_clips, "a turtle", callback_on_step_end=stop, **options)
    assert (tmp_path / "run" / "weights").is_dir()  # it can be resumed


def test_without_a_generator_torch_decides() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first, second = seed_of(None), seed_of(None)
        torch.manual_seed(3)
        assert seed_of(None) == first != second
