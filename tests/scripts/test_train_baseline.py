"""Training of the rivals: which clips, their losses, a smoke run, and going on after a kill."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import train_baseline  # noqa: E402
from baselines.clips import Bank, Wanted, jittered  # noqa: E402
from baselines.features import VGGFeatures  # noqa: E402
from baselines.objective import fomm_terms, measure, tps_terms  # noqa: E402
from baselines.training import Options, Training, dropout_at, new_model, terms_of, train  # noqa: E402

from anamodiff.baselines.perceptual import PerceptualLoss  # noqa: E402
from anamodiff.baselines.weights import load_rival  # noqa: E402
from anamodiff.errors import AnaMoDiffError  # noqa: E402
from anamodiff.video.clip import write_video  # noqa: E402


class Pixels(torch.nn.Module):
    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        return [frames]


def moving(left: int, frames: int = 3) -> torch.Tensor:
    clip = torch.ones(frames, 3, 64, 64)
    for number, frame in enumerate(clip):
        frame[:, 24:44, left + 6 * number : left + 6 * number + 20] = -0.6
    return clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(["a.gif", "b.gif", "pair/source.gif", "pair/truth.gif"]):
        write_video(folder / name, moving(4 + 6 * number), 8)
    write_video(folder / "bench" / "c.gif", moving(8), 8)
    return folder


@pytest.fixture(scope="module")
def bank(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return Bank.open(tmp_path_factory.mktemp("bank"), Wanted((clips,), 64), lambda _: None)


def test_answers_and_the_benchmark_s_clips_are_left_out(bank: Bank) -> None:
    assert [Path(name).name for name in bank.names] == ["a.gif", "b.gif", "source.gif"]
    assert bank.frames.shape == (9, 64, 64, 3) and list(bank.lengths) == [3, 3, 3]


def test_other_clips_than_the_bank_s_are_refused(clips: Path, tmp_path: Path) -> None:
    Bank.open(tmp_path, Wanted((clips,), 64), lambda _: None)
    with pytest.raises(AnaMoDiffError, match="name another"):
        Bank.open(tmp_path, Wanted((clips,), 32), lambda _: None)
    (tmp_path / "none").mkdir()
    with pytest.raises(AnaMoDiffError, match="expected"):
        Bank.open(tmp_path / "new", Wanted((tmp_path / "none",), 64), lambda _: None)


def test_drawn_clips_join_the_others_whoever_fills(clips: Path, bank: Bank, tmp_path: Path) -> None:
    wanted = Wanted((clips,), 64, drawn=3)
    alone, many = (
        Bank.open(tmp_path / str(workers), wanted, lambda _: None, workers=workers)
        for workers in (0, 2)
    )
    assert many.names[3:] == ["drawn 0", "drawn 1", "drawn 2"] and many.lengths[-1] == 10
    assert_close(many.frames, alone.frames)
    assert_close(many.frames[:9], bank.frames)
    shown = (many.frames[9:].float().mean(-1) < 200).flatten(1).float().mean(1)
    assert shown.min() > 0.01, "a character in each frame"


def test_too_few_clips_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for count in (0, 1):
        if count:
            write_video(tmp_path / "clips" / "a.gif", moving(4), 8)
        (tmp_path / "clips" / "broken.mp4").write_bytes(b"no clip")
        with pytest.raises(AnaMoDiffError, match=f"at least two clips .*, got {count} among"):
            Bank.open(tmp_path / "bank", Wanted((tmp_path / "clips",), 64), lambda _: None)
        assert not list((tmp_path / "bank").glob("[!.]*"))


def test_some_clips_are_kept_out_and_never_all(bank: Bank) -> None:
    for share in (0.0, 0.03, 1.0):
        assert 0 < bank.held_out(share).sum() < len(bank.names)


def test_pairs_are_of_one_clip_each(bank: Bank) -> None:
    only = np.array([False, True, False])
    frames = bank.pairs(only, 8, np.random.default_rng(0), flip=False)
    assert frames.shape == (16, 3, 64, 64)
    wanted = bank.frames[3:6].permute(0, 3, 1, 2).float() / 255
    for frame in frames:
        assert min(float((frame - own).abs().max()) for own in wanted) == 0
    source, driving = bank.pairs(only, 32, np.random.default_rng(0)).chunk(2)
    assert any(bool((a != b).any()) for a, b in zip(source, driving, strict=True))


def test_jitter_is_the_same_in_a_pair_and_keeps_white_ground(bank: Bank) -> None:
    frame = bank.pairs(np.ones(3, bool), 4, np.random.default_rng(0))[:4]
    source, driving = jittered(torch.cat([frame, frame]), 0.2, 0.2).chunk(2)
    assert_close(source, driving)
    assert (source - frame).abs().max() > 0.05
    assert source[:, :, 0, 0].min() > 0.75


def test_losses_vanish_for_a_perfect_reconstruction() -> None:
    frames = torch.rand(2, 3, 32, 32)
    perceptual = PerceptualLoss(Pixels(), (1.0, 0.5))
    assert float(perceptual(frames, frames)) == 0
    assert float(perceptual(frames, frames.flip(0))) > 0.1


@pytest.mark.parametrize("kind", ["tps", "fomm"])
def test_every_part_is_trained(kind: str) -> None:
    torch.manual_seed(0)
    model = new_model(kind, 64, tiny=True, background=kind == "tps").train()
    source, driving = torch.rand(2, 4, 3, 64, 64)
    perceptual = PerceptualLoss(Pixels(), (1.0,))
    if kind == "tps":
        terms = tps_terms(model, source, driving, perceptual, 0.3)
        assert terms.keys() == {"background", "perceptual", "equivariance", "warp"}
    else:
        terms = fomm_terms(model, source, driving, perceptual)
        assert terms.keys() == {"perceptual", "equivariance", "jacobians", "crowding"}
    torch.stack(list(terms.values())).sum().backward()
    without = {n for n, p in model.named_parameters() if p.grad is None}
    assert not without


@pytest.mark.parametrize("kind", ["tps", "fomm"])
def test_a_step_on_a_gpu_mixes_no_devices_and_waits_for_no_value(kind: str, bank: Bank) -> None:
    # cuDNN's grid sampling has no fake kernel.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.backends.cudnn.flags(False):
        with torch.device("cuda"):
            model = new_model(kind, 64, tiny=True)
            perceptual = PerceptualLoss(Pixels())
        frames = torch.zeros(9, 64, 64, 3, dtype=torch.uint8, device="cuda")
        there = SimpleNamespace(frames=frames, starts=bank.starts, lengths=bank.lengths)
        pairs = Bank.pairs(there, np.ones(3, bool), 4, np.random.default_rng(0))
        assert pairs.is_cuda
        terms = terms_of(model, pairs, Options(small=0.0), 0.1, perceptual)
        assert all(term.is_cuda for term in terms.values())


def test_splines_are_dropped_more_and_then_no_longer() -> None:
    options = Options()
    shares = [dropout_at(p, options) for p in (0.0, 0.03, 0.1, 0.34, 0.36, 1.0)]
    assert shares == pytest.approx([0.2, 0.35, 0.5, 0.5, 0, 0])


def test_vgg_levels_are_the_published_ones(tmp_path: Path) -> None:
    with torch.device("meta"):
        blank = VGGFeatures.layers()[0]
    state = {f"features.{name}": torch.zeros(t.shape) for name, t in blank.state_dict().items()}
    state |= {"classifier.0.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "vgg19.pth")
    features = VGGFeatures(tmp_path / "vgg19.pth")
    found = features(torch.rand(1, 3, 32, 32))
    assert [tuple(level.shape[1:]) for level in found] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2),
    ]  # fmt: skip
    # Numbers of the convolutions in torchvision's file.
    numbers = [int(name.split(".")[1]) for name in features.state_dict() if "weight" in name]
    assert numbers == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28]


def test_the_smoke_run_leaves_a_rival(clips: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["tps", str(run), "--clips", str(clips), "--smoke", "--steps", "2"]
    assert train_baseline.main(words) == 0
    assert load_rival(run).config["num_tps"] == 10
    assert (run / "sheet.png").is_file() and "kept out" in (run / "log.txt").read_text()
    assert train_baseline.main(["tps", str(run), "--clips", str(tmp_path / "no"), "--smoke"]) == 2


def test_a_run_by_the_clock_goes_on_where_it_was(bank: Bank, tmp_path: Path) -> None:
    options = Options(
        batch=2, seconds=500.0, reserve=0.0, validation=2, minutes_log=0, minutes_measure=0,
        half=False, small=0.0,
    )  # fmt: skip

    def begun() -> Training:
        torch.manual_seed(0)
        model = new_model("fomm", 64, tiny=True)
        return Training(model, options, tmp_path, bank, PerceptualLoss(Pixels(), (1.0,)))

    first = begun()
    first.started -= 200
    first.one_step()
    first.save()
    second = begun()
    assert second.resume() and second.step == 1
    assert second.progress() == pytest.approx(0.4, abs=0.05)
    for name, value in second.module.state_dict().items():
        assert_close(value, first.module.state_dict()[name])
    second.one_step()
    assert second.step == 2
    second.started -= 1000
    train(second, lambda _: None)
    assert second.step == 2, "a run that is over takes no step"
    assert measure(second.averaged, second.validation_sets()["kept out"]).still > 0
