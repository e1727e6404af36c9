"""Fixtures for all tests."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

ROOT = Path(__file__).resolve().parents[1]
if "PYTEST_XDIST_WORKER" in os.environ:  # as many threads as cores in each would be in their way
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def single_precision(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let `auto` be fp32 on every CPU, in the tests' own processes, too.

    Otherwise what is compared would depend on what the machine was measured to be fast in.
    """
    from anamodiff.backbone import precision

    single = str(precision.StagePrecision.parse("fp32"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(precision.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        for threads in range(1, 2 * (os.cpu_count() or 1) + 1):
            machine = precision.machine_key() | {"threads": threads}
            precision._write(precision._cache_file(machine), {"precision": single})
        yield


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of numbers that the reference implementations computed."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the shared clips; tests that need it are skipped where it is missing."""
    folder = ROOT.parent / "shared"
    if not (folder / "clips").is_dir():
        pytest.skip(f"needs the shared clips in {folder.name}/ beside the checkout")
    return folder


@pytest.fixture(scope="session")
def unet2d() -> "Callable[..., UNet2DConditionModel]":
    """Builds small UNets for pictures, all with the same random weights."""
    import torch
    from diffusers import UNet2DConditionModel

    config = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 12,
        "attention_head_dim": 2,
    }

    def build(**change: object) -> UNet2DConditionModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return UNet2DConditionModel(**config | change).eval()

    return build


@pytest.fixture(scope="session")
def tiny_backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with random weights: 64-pixel frames, latents 4 x 16 x 16."""
    import json

    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.9,
    ).save_pretrained(folder / "vae")
    UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    ).save_pretrained(folder / "unet")
    tokenizer = CLIPTokenizer().train_new_from_iterator(["a green turtle"] * 9, vocab_size=600)
    tokenizer.model_max_length = 8
    tokenizer.save_pretrained(folder / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    (folder / "scheduler").mkdir()
    scheduler = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    _tiny_lofnet().save(folder / "lofnet")
    return folder


def _tiny_lofnet():
    """A random LOFNet for the tiny backbone's frames and latents."""
    import torch

    from anamodiff.lofnet.model import build_lofnet

    torch.manual_seed(1)
    blocks = {"block_expansion": 4, "max_features": 16, "num_blocks": 2, "num_kp": 5}
    return build_lofnet(
        {
            "frame_size": 64,
            "detector": {
                **blocks, "num_channels": 3, "temperature": 0.1, "scale_factor": 0.25,
                "single_jacobian_map": True,
            },
            "dense_motion": {**blocks, "num_channels": 4},
        }
    )  # fmt: skip


@pytest.fixture(scope="session")
def drawn_clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source and a driving gif of drawn creatures, 6 frames of 64 pixels."""
    from anamodiff import creatures
    from anamodiff.video.clip import write_video
    from anamodiff.video.letterbox import from_pixels

    folder = tmp_path_factory.mktemp("clips")
    pair = creatures.draw_pair(
        3, source_species="turtle", driving_species="rhino", motion="jump", frames=6, size=64
    )
    for name, drawn in (("source", pair.source), ("driving", pair.driving)):
        write_video(folder / f"{name}.gif", from_pixels(drawn.frames), drawn.fps)
    return folder / "source.gif", folder / "driving.gif"


class Hub:
    """Stands for the hub: repositories that are folders here, and the hub's cache in a folder.

    `asked` are the files that were fetched, `online` whether it answers.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.repositories: dict[str, Path] = {}
        self.asked: list[str] = []
        self.online = True

    def snapshot(self, repository: str) -> Path:
        """The folder in the cache where a repository's files go."""
        home = self.cache / f"models--{repository.replace('/', '--')}"
        (home / "refs").mkdir(parents=True, exist_ok=True)
        (home / "refs" / "main").write_text("0" * 40)
        return home / "snapshots" / ("0" * 40)

    def put(self, repository: str, folder: Path, names: Sequence[str] = ("*",)) -> Path:
        """Put a folder's files into the cache, as if they had been fetched."""
        target = self.snapshot(repository)
        target.mkdir(parents=True, exist_ok=True)
        for name in self._names(folder):
            if any(fnmatch(name, pattern) for pattern in names):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target / name)
        return target

    def repo_info(self, repository: str) -> SimpleNamespace:
        names = self._names(self._repository(repository))
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    def snapshot_download(self, repository: str, *, allow_patterns: Sequence[str]) -> str:
        folder = self._repository(repository)
        self.asked += [n for n in allow_patterns if n not in self.asked]
        return str(self.put(repository, folder, allow_patterns))

    def hf_hub_download(self, repository: str, file: str) -> str:
        return str(Path(self.snapshot_download(repository, allow_patterns=[file])) / file)

    def _repository(self, repository: str) -> Path:
        if not self.online or repository not in self.repositories:
            raise ConnectionError("no\nnet")
        return self.repositories[repository]

    @staticmethod
    def _names(folder: Path) -> list[str]:
        return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub without repositories, whose cache is empty."""
    hub = Hub(tmp_path / "hub cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub.cache))
    monkeypatch.setattr(
        "huggingface_hub.HfApi.repo_info", lambda _, name, timeout: hub.repo_info(name)
    )
    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", getattr(hub, name))
    return hub
