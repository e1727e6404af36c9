"""What experiments need from elsewhere: what of it is cached, and how the rest is fetched."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anamodiff.backbone import files, hub
from anamodiff.backbone.libraries import import_libraries
from anamodiff.errors import AnaMoDiffError

FOMM = "mgif-cpk.pth.tar"
NO_HUB = (
    f"first-order-model publishes {FOMM} outside the hub (its README has the links), and no hub "
    "repository is known for it"
)
GIVE_FOLDER = "name a folder of it with --backbone or --clip-model"
# Parameters of Stable Diffusion 1.x, all three models; 4 bytes each in fp32, 2 in fp16.
PARAMETERS = 1_066_235_307
SIZES = {"clip": 606e6, "tokenizer": 2e6}  # bytes


@dataclass(frozen=True)
class Found:
    """One thing that can be fetched: short name, what it is, where it is, and bytes to fetch."""

    short_name: str
    title: str
    path: Path | None
    size: float | None

    @property
    def line(self) -> str:
        """What `anamodiff doctor` says of it."""
        if self.path is not None:
            return f"{self.short_name}: {self.title}, cached ({_gigabytes(_size(self.path))})"
        cost = f"{_gigabytes(self.size)} to fetch" if self.size else "on no hub that we know of"
        origin = "" if self.size else f" --from OWNER/NAME/{self.title}"
        command = f"anamodiff fetch {self.short_name}{origin}"
        return f"{self.short_name}: {self.title}, not cached; {cost}: {command}"


def cached_models(*, half: bool) -> list[Found]:
    """What is in the hub's cache of all that `fetch` knows; asks nobody.

    Args:
        half: whether weights in 16 bits would be fetched.
    """
    sizes = SIZES | {"sd14": PARAMETERS * (2 if half else 4)}
    found = [
        Found(word, repository, hub.find_cached(repository, _choose(word, half)), sizes[word])
        for word, repository in hub.SHORT_NAMES.items()
    ]
    return [*found, Found("fomm", FOMM, hub.find_file(FOMM), None)]


def fetch(
    what: str, source: str | None = None, *, device: str = "auto", precision: str = "auto"
) -> list[str]:
    """Fetch something into the hub's cache, or find it there; a fetch that was stopped goes on.

    Args:
        what: `sd14`, `clip`, `tokenizer`, `fomm`, or the hub id of a backbone or a CLIP model.
        source: for `fomm`, repository and file in one, `owner/name/file`.
        device, precision: decide whether weights in 16 or in 32 bits are fetched.

    Returns:
        Lines that say where it is and how to use it.

    Raises:
        AnaMoDiffError: unknown, not to be fetched, or not what it should be.
    """
    if what == "fomm":
        return _fetch_fomm(source)
    if source is not None:
        raise AnaMoDiffError(f"expected --from only with fomm, got it with {what}: leave it out")
    repository = hub.SHORT_NAMES.get(what, what)
    if not hub.is_id(repository):
        words = ", ".join([*hub.SHORT_NAMES, "fomm"])
        raise AnaMoDiffError(f"expected {words} or a hub id (owner/name) to fetch, got {what!r}")
    import_libraries()
    import torch

    from anamodiff.backbone.model import choose_device
    from anamodiff.backbone.precision import choose_precision

    half = choose_precision(precision, choose_device(device)) != torch.float32
    choose = _choose(what, half)
    folder = hub.find_cached(repository, choose) or hub.download(
        repository, choose, role="model", cure=GIVE_FOLDER, check=files.check_folder
    )
    place = f"{repository}: {folder} ({_gigabytes(_size(folder))})"
    return [place, *_use(what, repository, folder)]


def _use(what: str, repository: str, folder: Path) -> list[str]:
    if what == "tokenizer":
        return []
    is_backbone = (folder / "unet").is_dir()
    command = f"transfer --backbone {repository}" if is_backbone else "evaluate"
    flag = "" if is_backbone or what == "clip" else f" --clip-model {repository}"
    return [f"next: anamodiff {command}{flag} ..."]


def _choose(what: str, half: bool) -> hub.Choose:
    known = {
        "sd14": partial(files.backbone_files, half=half),
        "tokenizer": files.tokenizer_files,
        "clip": files.clip_model_files,
    }
    return known.get(what, partial(_choose_either, half=half))


def _choose_either(names: Iterable[str], *, half: bool) -> list[str]:
    """Files of a backbone, or of a CLIP model where there is no sign of a backbone."""
    names = list(names)
    files.check_names(names)
    is_clip = "config.json" in names and "model_index.json" not in names
    return files.clip_model_files(names) if is_clip else files.backbone_files(names, half=half)


def _fetch_fomm(source: str | None) -> list[str]:
    path = hub.find_file(FOMM) if source is None else None
    if path is None:
        parts = (source or "").split("/", 2)
        if len(parts) < 3 or not all(parts):
            raise AnaMoDiffError(
                f"expected where to fetch {FOMM} from, got {source or 'nothing'}: {NO_HUB}; name "
                f"one that you trust with --from OWNER/NAME/{FOMM}, or download the file yourself "
                "and name it with lofnet.checkpoint=FILE"
            )
        owner, name, file = parts
        cure = "go online, correct --from, or download it yourself"
        path = hub.download_file(f"{owner}/{name}", file, role="first-order-model's", cure=cure)
    import_libraries()
    from anamodiff.lofnet.fomm import load_fomm

    detector = load_fomm(path)
    return [
        f"fomm: {path} ({detector.config['num_kp']} key points)",
        "next: anamodiff train-lofnet lofnet.detector=fomm "
        f"{shlex.quote(f'lofnet.checkpoint={path}')} ...",
    ]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
