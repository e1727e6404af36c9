"""The whole road on a tiny random backbone: files, resumption, seeds and refusals."""

import json
import shutil
from dataclasses import asdict
from unittest import mock

import numpy as np
import pytest
import torch
import yaml

import anamodiff
from anamodiff import pipeline
from anamodiff.backbone import precision
from anamodiff.backbone.precision import StagePrecision
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import AdaptationOptions, GenerationOptions, TuningOptions
from anamodiff.run import stages
from anamodiff.run.folder import RunFolder
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.stages import CHECKPOINT
from anamodiff.video.clip import write_video

QUICK = {
    "frames": 4,
    "tuning": {"iterations": 4, "checkpoint_every": 1, "rank": 2},
    "progress": False,
    "prompt": "a green turtle",
}
SAMPLING = {"steps": 3, "guidance": 2.0}


@pytest.fixture(scope="module")
def mover(tiny_backbone_folder) -> MotionTransfer:
    return MotionTransfer.load(tiny_backbone_folder, device="cpu")


@pytest.fixture(scope="module")
def result(mover, drawn_clips, tmp_path_factory) -> anamodiff.Result:
    output = tmp_path_factory.mktemp("transfer") / "run"
    return mover.transfer(*drawn_clips, output=output, generation=SAMPLING, **QUICK)


def test_run_folder_holds_everything(result):
    names = {path.name for path in result.run.glob("[!.]*")}
    assert {
        "result.mp4", "result.gif", "comparison.mp4", "warped.mp4", "frames", "config.yaml",
        "run.json", "weights", "scene.safetensors",
    } <= names  # fmt: skip
    assert CHECKPOINT not in names
    assert len(list((result.run / "frames").glob("*.png"))) == 4
    weights = {path.name for path in (result.run / "weights").iterdir()}
    assert weights == {"pytorch_lora_weights.safetensors", "temporal.safetensors"}


def test_result_has_the_source_s_size_and_the_driving_clip_s_rate(result, drawn_clips):
    source = anamodiff.read_clip(drawn_clips[0], frames=4)
    assert result.frames.shape == source.frames.shape
    assert result.frames.abs().max() <= 1
    assert result.fps == pytest.approx(anamodiff.read_clip(drawn_clips[1], frames=4).fps)


def test_record_says_with_what_it_was_made(result):
    record = json.loads((result.run / "run.json").read_text())
    assert record["seed"] == 0
    assert set(record["timings"]) == {"warp", "tuning", "sampling", "decoding", "writing"}
    assert record["timings"] == result.timings
    assert "torch" in record["versions"]
    assert record["peak_memory_mb"] > 50
    assert set(record["hashes"]) == {"backbone", "lofnet", "motion", "tuned"}
    assert all(len(h) == 64 for part in record["hashes"].values() for h in part.values())
    assert len(record["losses"]) == 4
    assert record["generation"]["steps"] == 3
    settings = yaml.safe_load((result.run / "config.yaml").read_text())
    assert settings["prompt"] == "a green turtle"
    assert settings["tuning"]["iterations"] == 4


def test_saving_writes_what_reads_back(result, tmp_path):
    path = result.save(tmp_path / "out.gif")
    assert len(anamodiff.read_clip(path, frames=4).frames) == 4


def test_same_seed_same_frames_and_stages_apart_are_transfer(mover, result, drawn_clips, tmp_path):
    run = mover.tune(*drawn_clips, output=tmp_path / "run", **QUICK)
    apart = mover.generate(run, generation=SAMPLING, progress=False)
    assert torch.equal(apart.frames, result.frames)
    other = mover.generate(run, seed=1, generation=SAMPLING, progress=False)
    assert not torch.equal(other.frames, result.frames)


def test_denoising_may_start_from_the_warped_clip(mover, result, tmp_path):
    run = shutil.copytree(result.run, tmp_path / "run")
    warped = mover.backbone.decode(ClipPair.load(run).warped.warped)
    distances = []
    for level in (1, 1000):
        sampling = {"steps": 20, "guidance": 1.0, "denoise_from": level, "match_colours": False}
        frames = mover.generate(run, generation=sampling, progress=False).frames
        distances.append(float((frames - warped).abs().mean()))
    assert distances[0] < distances[1] / 2
    with pytest.raises(AnaMoDiffError, match="denoise_from"):
        mover.generate(run, generation={"denoise_from": 0}, progress=False)


def test_without_tuning_the_unet_is_as_it_was_inflated(mover, drawn_clips, tmp_path):
    untuned = QUICK | {"tuning": {"iterations": 0}}
    noted: list[str] = []
    common = untuned | {"progress": lambda stage, *words: noted.append(stage)}
    result = mover.transfer(*drawn_clips, output=tmp_path / "run", generation=SAMPLING, **common)
    warped = ClipPair.load(result.run).warped
    unet = mover.method.inflate(TuningOptions())
    latents = mover.method.sample(unet, warped, QUICK["prompt"], GenerationOptions(**SAMPLING))
    frames = mover.method.decode_result(latents, warped, GenerationOptions(**SAMPLING))
    torch.testing.assert_close(result.canvas, frames)
    assert json.loads((result.run / "run.json").read_text())["losses"] == []
    assert set(noted) == {"inversion", "sampling"}, "a stage without steps shows no progress"
    again = mover.generate(result.run, generation=SAMPLING, progress=False)
    torch.testing.assert_close(again.canvas, frames)


def test_killed_in_tuning_and_resumed_is_the_same(
    mover, result, drawn_clips, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    real = pipeline.tune

    def dies(*args, progress, **kwargs):
        def stop(done: int, loss: float) -> None:
            if done == 3:
                raise Killed

        return real(*args, progress=stop, **kwargs)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "tune", dies)
        with pytest.raises(Killed):
            mover.transfer(*drawn_clips, output=run, generation=SAMPLING, **QUICK)
    assert (run / CHECKPOINT).is_file()
    resumed = mover.transfer(*drawn_clips, output=run, resume=True, generation=SAMPLING, **QUICK)
    assert torch.equal(resumed.frames, result.frames)
    again = mover.transfer(*drawn_clips, output=run, resume=True, generation=SAMPLING, **QUICK)
    assert torch.equal(again.frames, result.frames)


def test_output_file_gets_the_video_and_outputs_the_run(mover, drawn_clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        made = mover.transfer(
            *drawn_clips, output=f"mine{number}.gif", generation=SAMPLING, **QUICK
        )
        assert made.video.name == f"mine{number}.gif"
        assert made.video.is_file()
    assert {p.name for p in (tmp_path / "outputs").iterdir()} == {
        "source-driving",
        "source-driving-2",
    }


def test_a_still_picture_can_be_the_source(mover, drawn_clips, tmp_path):
    from anamodiff.video.clip import read_clip, write_frames

    write_frames(tmp_path / "frames", read_clip(drawn_clips[0], frames=1).frames)
    still = tmp_path / "frames" / "0000.png"
    result = mover.transfer(
        still, drawn_clips[1], output=tmp_path / "run", generation=SAMPLING, **QUICK
    )
    assert len(result.frames) == 4


def test_a_long_clip_goes_through_in_windows_even_beside_a_short_source(
    mover, drawn_clips, tmp_path
):
    source = anamodiff.read_clip(drawn_clips[0], frames=3)
    write_video(tmp_path / "short.gif", source.frames, 8)
    settings = QUICK | {"frames": 6, "tuning": QUICK["tuning"] | {"window": 4}}
    run = mover.tune(tmp_path / "short.gif", drawn_clips[1], output=tmp_path / "run", **settings)
    seen: list[int] = []

    def generate(**windows: int) -> torch.Tensor:
        sampling = SAMPLING | {"match_colours": False} | windows
        hooked = mover.method.inflate

        def inflate(options: TuningOptions) -> torch.nn.Module:
            unet = hooked(options)
            unet.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
            return unet

        with mock.patch.object(mover.method, "inflate", inflate):
            return mover.generate(run, generation=sampling, progress=False).frames

    whole = generate()
    assert seen == [1] * 3 + [6] * 3
    seen.clear()
    windows = generate(window=4, overlap=2)
    assert seen == [1] * 3 + [4, 2] + [3, 2, 1] + [4, 2]
    assert windows.shape == whole.shape
    assert not torch.equal(windows, whole)
    with pytest.raises(AnaMoDiffError, match="got overlap 4 and window 4; make generation.overlap"):
        generate(window=4, overlap=4)


def test_start_frame_chooses_the_frame_that_is_warped(mover, drawn_clips, tmp_path):
    run = mover.tune(*drawn_clips, output=tmp_path / "run", start_frame=2, **QUICK)
    assert ClipPair.load(run).warped.start == 2
    with pytest.raises(AnaMoDiffError, match="from 0 to 3"):
        mover.tune(*drawn_clips, output=tmp_path / "other", start_frame=4, **QUICK)


def test_adaptation_is_kept_and_decides_the_warp(mover, result, drawn_clips):
    settings = RunFolder.load(result.run).settings
    assert settings["adaptation"] == asdict(AdaptationOptions())
    with pytest.raises(AnaMoDiffError, match="to resume, got others"):
        mover.tune(
            *drawn_clips, output=result.run, resume=True, adaptation={"scale": "none"}, **QUICK
        )
    given = [anamodiff.read_clip(path, frames=4, size=64) for path in drawn_clips]
    subjects = mover.cut(*given, mover.resolve().adaptation)
    clips = subjects.source.clip.frames, subjects.driving.clip.frames
    warped = [
        mover.method.warp(*clips, adaptation=mover.resolve(adaptation=given).adaptation)
        for given in (
            {"pose": "points"},
            {"pose": "points", "scale": None},
            {"pose": "points", "scale": "none"},
            {"pose": "points", "smooth": 1.0},
        )
    ]
    by_default = mover.method.warp(*clips, adaptation=mover.resolve().adaptation)
    kept = ClipPair.load(result.run).warped
    torch.testing.assert_close(by_default.flow, kept.flow)
    assert by_default.poses is not None and kept.poses is not None
    torch.testing.assert_close(by_default.poses.target, kept.poses.target, equal_nan=True)
    assert torch.equal(by_default.frames, kept.frames)
    assert torch.equal(warped[0].flow, warped[1].flow)
    assert not torch.equal(warped[0].flow, warped[2].flow)
    assert not torch.equal(warped[0].flow, warped[3].flow)


def test_the_start_frame_can_be_chosen_by_pose(mover, drawn_clips):
    source = anamodiff.read_clip(drawn_clips[0], frames=6, size=64).frames
    assert mover.method.warp(source, source[3:], start_frame="auto").start == 3
    assert mover.method.warp(source, source[3:]).start == 0


def test_frames_outside_of_a_run_are_never_overwritten(mover, drawn_clips, tmp_path, result):
    (tmp_path / "holiday.txt").write_text("dear")
    with pytest.raises(AnaMoDiffError, match="new or empty"):
        mover.tune(*drawn_clips, output=tmp_path, **QUICK)
    with pytest.raises(AnaMoDiffError, match="--resume"):
        mover.tune(*drawn_clips, output=result.run, **QUICK)
    assert (tmp_path / "holiday.txt").read_text() == "dear"


def test_resume_wants_the_same_settings(mover, drawn_clips, result, tmp_path, monkeypatch):
    with pytest.raises(AnaMoDiffError, match="to resume, got others"):
        mover.tune(*drawn_clips, output=result.run, resume=True, **{**QUICK, "frames": 5})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnaMoDiffError, match="found none"):
        mover.tune(*drawn_clips, resume=True, **QUICK)


def test_a_run_is_resumed_in_its_own_precision(
    mover, result, drawn_clips, tiny_backbone_folder, tmp_path
):
    half = MotionTransfer.load(tiny_backbone_folder, device="cpu", precision="fp16")
    with pytest.raises(AnaMoDiffError, match="got others: precision was 'fp32' and is 'fp16'; "):
        half.tune(*drawn_clips, output=result.run, resume=True, **QUICK)
    old = RunFolder(shutil.copytree(result.run, tmp_path / "old"))
    settings = {key: value for key, value in old.settings.items() if key != "precision"}
    (old.path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert mover.tune(*drawn_clips, output=old.path, resume=True, **QUICK) == old.path


def test_an_unnamed_precision_is_the_one_that_the_run_began_with(
    tiny_backbone_folder, drawn_clips, tmp_path, monkeypatch
):
    """Measured on one machine, resumed and generated from on others."""
    mixed = "tuning=bf16,sampling=fp32,decoding=bf16"
    measured = [StagePrecision.parse(mixed)]
    monkeypatch.setattr(precision, "measured_precision", lambda: measured.pop())
    mover = MotionTransfer.load(tiny_backbone_folder, device="cpu")
    made = mover.transfer(*drawn_clips, output=tmp_path / "run", generation=SAMPLING, **QUICK)
    assert RunFolder(made.run).settings["precision"] == mixed and not measured
    other = MotionTransfer.load(tiny_backbone_folder, device="cpu")  # nothing is left to measure
    again = other.transfer(*drawn_clips, output=made.run, resume=True, generation=SAMPLING, **QUICK)
    assert torch.equal(again.frames, made.frames)
    assert RunFolder(made.run).settings["precision"] == mixed
    alone = anamodiff.generate(made.run, device="cpu", generation=SAMPLING, progress=False)
    assert torch.equal(alone.frames, made.frames)
    single = MotionTransfer.load(tiny_backbone_folder, device="cpu", precision="fp32")
    with pytest.raises(AnaMoDiffError, match=f"precision was '{mixed}' and is 'fp32'; "):
        single.tune(*drawn_clips, output=made.run, resume=True, **QUICK)
    # A run from before precision was recorded was in fp32; begun again, it is not measured.
    old = RunFolder(shutil.copytree(made.run, tmp_path / "old"))
    settings = {key: value for key, value in old.settings.items() if key != "precision"}
    (old.path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert other.tune(*drawn_clips, output=old.path, resume=True, **QUICK) == old.path
    assert old.settings["precision"] == "fp32"


def test_an_unnamed_size_is_the_one_that_the_run_began_with(
    mover, result, drawn_clips, tiny_backbone_folder, tmp_path
):
    """A folder recommends another size than when the run began, or a flag names one."""
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    (folder / "anamodiff.json").write_text(json.dumps({"size": 32}))
    smaller = MotionTransfer.load(folder, device="cpu")
    named = MotionTransfer.load(folder, device="cpu", size=32)
    for recorded in (64, None, "nothing"):  # as in runs of now, and of before sizes were settings
        old = RunFolder(shutil.copytree(result.run, tmp_path / str(recorded)))
        settings = old.settings | {"backbone": str(folder), "lofnet": str(folder / "lofnet")}
        settings["size"] = recorded
        if recorded == "nothing":
            del settings["size"]
        (old.path / "config.yaml").write_text(yaml.safe_dump(settings))
        shutil.rmtree(old.path / "weights")  # stopped in tuning
        with pytest.raises(AnaMoDiffError, match="got others: size was 64 and is 32; "):
            named.tune(*drawn_clips, output=old.path, resume=True, **QUICK)
        again = smaller.transfer(
            *drawn_clips, output=old.path, resume=True, generation=SAMPLING, **QUICK
        )
        assert torch.equal(again.frames, result.frames)
        assert old.settings["size"] == 64
    made = smaller.transfer(*drawn_clips, output=tmp_path / "new", generation=SAMPLING, **QUICK)
    assert made.canvas.shape[-1] == 32 and RunFolder(made.run).settings["size"] == 32
    alone = anamodiff.generate(made.run, device="cpu", generation=SAMPLING, progress=False)
    assert torch.equal(alone.frames, made.frames)


def test_refusals_leave_no_folder_behind(mover, drawn_clips, tmp_path):
    still = tmp_path / "frames"
    from anamodiff.video.clip import read_clip, write_frames

    write_frames(still, read_clip(drawn_clips[0], frames=1).frames)
    for clips, settings, words in (
        ((drawn_clips[0], still / "0000.png"), QUICK, "driving clip"),
        ((tmp_path / "none.gif", drawn_clips[1]), QUICK, "none.gif"),
        (drawn_clips, {**QUICK, "prompt": "  "}, "prompt"),
        (drawn_clips, {**QUICK, "tuning": {"lr": -1}}, "lr"),
    ):
        with pytest.raises(AnaMoDiffError, match=words):
            mover.tune(*clips, output=tmp_path / "run", **settings)
        assert not (tmp_path / "run").exists()


def test_generate_wants_a_tuned_run(mover, result, tmp_path):
    with pytest.raises(AnaMoDiffError, match="run folder"):
        mover.generate(tmp_path)
    untuned = shutil.copytree(result.run, tmp_path / "copy")
    (untuned / "scene.safetensors").unlink()
    with pytest.raises(AnaMoDiffError, match="tune first"):
        mover.generate(untuned)


def test_half_precision_tunes_and_samples(tiny_backbone_folder, drawn_clips, tmp_path):
    mover = MotionTransfer.load(tiny_backbone_folder, device="cpu", precision="bf16")
    made = mover.transfer(*drawn_clips, output=tmp_path / "run", generation=SAMPLING, **QUICK)
    assert made.frames.isfinite().all()


def test_the_backbone_s_own_settings_are_used_where_nothing_is_given(
    tiny_backbone_folder, drawn_clips, tmp_path
):
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    advice = {"tuning": {"iterations": 2, "rank": 3}, "adaptation": {"scale": "axes"}}
    (folder / "anamodiff.json").write_text(json.dumps(advice))
    mover = MotionTransfer.load(folder, device="cpu")
    own = {**QUICK, "tuning": {"iterations": None, "rank": 5}}
    run = mover.tune(*drawn_clips, output=tmp_path / "run", **own)
    settings = RunFolder.load(run).settings
    assert settings["adaptation"] == asdict(AdaptationOptions(scale="axes"))
    tuning = settings["tuning"]
    assert (tuning["iterations"], tuning["rank"], tuning["noise_min"]) == (2, 5, 850)


def test_demo_draws_its_clips_and_resumes(tiny_backbone_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {k: v for k, v in QUICK.items() if k != "prompt"} | {"generation": SAMPLING}
    made = anamodiff.demo(backbone=tiny_backbone_folder, device="cpu", **settings)
    assert made.run.name == "turtle-rhino"
    clips = {path.name for path in (tmp_path / "outputs" / "demo").iterdir()}
    assert clips == {"turtle.gif", "rhino.gif"}
    assert RunFolder.load(made.run).settings["prompt"] == "a green turtle"
    again = anamodiff.demo(backbone=tiny_backbone_folder, device="cpu", resume=True, **settings)
    assert again.run == made.run
    assert torch.equal(again.frames, made.frames)


def test_clips_that_were_read_give_the_frames_of_their_files(mover, result, drawn_clips, tmp_path):
    size = mover.backbone.image_size
    clips = [anamodiff.read_clip(path, frames=4, size=size) for path in drawn_clips]
    made = mover.transfer(*clips, output=tmp_path / "run", generation=SAMPLING, **QUICK)
    assert torch.equal(made.frames, result.frames)
    assert torch.equal(made.canvas, result.canvas) and made.canvas.shape[-2:] == (size, size)
    small = anamodiff.read_clip(drawn_clips[0], frames=4, size=size // 2)
    with pytest.raises(AnaMoDiffError, match=f"canvas of {size}x{size} pixels, got 4 of 32x32"):
        mover.transfer(small, clips[1], output=tmp_path / "other", **QUICK)
    with pytest.raises(AnaMoDiffError, match="driving clip of at least 2 frames"):
        still = anamodiff.read_clip(drawn_clips[1], frames=1, size=size)
        mover.transfer(clips[0], still, output=tmp_path / "other", **QUICK)
    assert not (tmp_path / "other").exists()


def test_a_transfer_does_not_load_what_it_has_just_tuned(
    mover, result, drawn_clips, tmp_path, monkeypatch
):
    def load(*args: object) -> None:
        raise AssertionError("the tuned weights are in memory")

    monkeypatch.setattr(stages, "load_weights", load)
    monkeypatch.setattr(stages.ClipPair, "load", load)
    made = mover.transfer(*drawn_clips, output=tmp_path / "run", generation=SAMPLING, **QUICK)
    assert torch.equal(made.frames, result.frames)


def test_progress_may_be_a_function(mover, drawn_clips, tmp_path):
    calls: list[tuple[str, int, int, float | None]] = []
    settings = QUICK | {"progress": lambda *call: calls.append(call)}
    mover.transfer(*drawn_clips, output=tmp_path / "run", generation=SAMPLING, **settings)
    assert [call[:3] for call in calls] == [
        (stage, done, total)
        for stage, total in (("tuning", 4), ("inversion", 3), ("sampling", 3))
        for done in range(total + 1)
    ]
    assert [loss is None for stage, done, _, loss in calls if stage == "tuning"] == [True] + [
        False
    ] * 4


def test_numbers_of_numpy_and_no_seed_are_taken(mover, drawn_clips, tmp_path):
    settings = QUICK | {"frames": np.int64(3), "seed": np.int32(2)}
    run = mover.tune(*drawn_clips, output=tmp_path / "run", **settings)
    noted = RunFolder.load(run).settings
    assert (noted["frames"], noted["seed"]) == (3, 2) and type(noted["seed"]) is int
    run = mover.tune(*drawn_clips, output=tmp_path / "null", seed=None, **QUICK)
    assert RunFolder.load(run).settings["seed"] == 0
