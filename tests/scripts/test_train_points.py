"""Training the retargeting of key points: glyphs, banks, augmentation, a run and its resumption."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from points import bank, drawn, training  # noqa: E402

from anamodiff.creatures.letters import LETTERS  # noqa: E402
from anamodiff.lofnet.model import LOFNet  # noqa: E402
from anamodiff.resources import find  # noqa: E402


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of three drawn triples."""
    folder = tmp_path_factory.mktemp("bank")
    network = LOFNet.load(find("checkpoints/mini/lofnet"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank, "PER_FILE", 3)
        assert bank.add_drawn(folder, network, 3, seconds=600) == 3
        assert bank.add_drawn(folder, network, 3, seconds=600) == 3  # is full
    return folder


def test_glyphs_that_are_kept_out_are_never_drawn(lot: np.random.Generator) -> None:
    glyphs = [drawn.random_glyph(lot) for _ in range(200)]
    kept_out = [LETTERS[name] for name in drawn.HELD_OUT_LETTERS]
    assert not any(glyph in kept_out for glyph in glyphs)
    assert {len(legs) for _, legs in glyphs} == {1, 2, 3, 4}
    assert all(drawn.random_glyph(lot, held_out=True) in kept_out for _ in range(5))


def test_the_truth_is_the_source_in_the_drivers_motion(lot: np.random.Generator) -> None:
    before = dict(LETTERS)
    for _ in range(8):
        made = drawn.random_triple(lot)
        shape = (drawn.FRAMES, drawn.SIZE, drawn.SIZE, 3)
        assert made.source.shape == made.driving.shape == made.truth.shape == shape
        common = [set(map(tuple, clip[0].reshape(-1, 3))) for clip in (made.source, made.truth)]
        assert len(common[0] & common[1]) > 1, "source and truth share their colours"
    assert before == LETTERS


def test_a_bank_comes_back_from_its_files(filled: Path) -> None:
    made = bank.load(filled, "drawn*.npz")
    assert made is not None and made.source.shape == made.truth.shape == (3, 10, 10, 6)
    assert np.abs(made.source[..., :2]).max() <= 1
    assert bank.load(filled, "clips*.npz") is None


def test_single_clips_train_with_another_body(filled: Path, lot: np.random.Generator) -> None:
    """Moved by a clip of its own: what differs is shape, not motion."""
    torch.manual_seed(0)
    made = bank.load(filled, "drawn*.npz")
    assert made is not None
    own = bank.Triples(made.truth, made.truth, made.truth, made.family)
    options = training.Options(batch=4, noise=0.0, shape=0.0, offset=0.0)
    source, driving, truth = training.Material({"clips": own}).batch(lot, options)
    torch.testing.assert_close(driving, truth, atol=1e-5, rtol=1e-5)
    assert source.shape[:2] == (4, 10) and source.shape[2:] == truth.shape[2:]
    options = training.Options(batch=4, noise=0.0, shape=0.0, offset=0.3)
    _, driving, truth = training.Material({"clips": own}).batch(lot, options)
    rest = (driving - truth)[..., :2].mean(1)
    assert rest.norm(dim=-1).mean() > 0.05


def test_smoke(filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from train_points import main

    words = [str(filled), str(tmp_path / "run"), "--smoke", "--validation", "2"]
    assert main(words) == 0
    assert main([*words, "--steps", "5"]) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "begun at step 0" in log and "resumed at step 4" in log and "step 5 kept out" in log
    assert main([*words, "--measure"]) == 0
    assert "learnt" in capsys.readouterr().out


def test_an_empty_bank_is_named(tmp_path: Path) -> None:
    from train_points import main

    with pytest.raises(SystemExit, match="make_point_bank"):
        main([str(tmp_path), str(tmp_path / "run"), "--smoke", "--validation", "1"])
