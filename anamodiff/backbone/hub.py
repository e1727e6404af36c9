"""Models of the Hugging Face hub: found in its cache, else fetched into it.

Callers say which of a repository's files they want: nothing here knows what a model consists of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded

# From the names of a repository's files, those that are wanted; LookupError where one is missing.
Choose = Callable[[Iterable[str]], list[str]]

# What `anamodiff fetch` calls the repositories that the paper's experiments need.
SHORT_NAMES = {
    "sd14": "CompVis/stable-diffusion-v1-4",
    "clip": "openai/clip-vit-base-patch32",
    "tokenizer": "CompVis/stable-diffusion-v1-4",
}
SMALL = (".json", ".txt")
TIMEOUT = 10.0  # seconds for the hub to say what a repository has


class NotFetchedError(AnaMoDiffError):
    """A model is neither in the cache nor to be fetched."""


def is_id(name: str | Path) -> bool:
    """Whether a name could be a hub id, `owner/name`, rather than a path."""
    return len(Path(name).parts) == 2 and not str(name).startswith((".", "/", "~"))


def locate(
    name: str | Path, choose: Choose, *, role: str, cure: str,
    check: Callable[[Path], None] | None = None,
) -> Path:  # fmt: skip
    """The folder of a model: a folder here, the hub's cache, or what is fetched into it.

    What the cache has is taken without asking the hub. A fetch that was stopped goes on.

    Args:
        name: path of a folder, or a hub id `owner/name`.
        choose: which files are wanted; decides whether the cache has enough, too.
        role: what it is called in errors, such as "CLIP model".
        cure: what else can be done, for the same lines.
        check: gets the folder when its small files are there, before gigabytes are fetched.

    Raises:
        NotFetchedError: it is neither here nor to be fetched.
        AnaMoDiffError: the name is neither a folder nor a hub id; and what `check` raises.
    """
    folder = expanded(name)
    if folder.is_dir():
        return folder
    if not is_id(name):
        raise AnaMoDiffError(
            f"expected a folder with a {role} or a hub id (owner/name), got {str(name)!r}, which "
            f"is no folder here: {cure}"
        )
    return find_cached(str(name), choose) or download(
        str(name), choose, role=role, cure=cure, check=check
    )


def find_cached(repository: str, choose: Choose) -> Path | None:
    """A repository's folder in the hub's cache, if all that is wanted is in it."""
    for folder in _snapshots(repository):
        try:
            choose(names_in(folder))
        except LookupError:
            continue
        return folder
    return None


def download(
    repository: str, choose: Choose, *, role: str, cure: str,
    check: Callable[[Path], None] | None = None,
) -> Path:  # fmt: skip
    """Fetch the wanted files of a repository into the hub's cache; see `locate`."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        # Asked once: a listing by pages tries again for minutes where there is no network.
        info = HfApi().repo_info(repository, timeout=TIMEOUT)
        siblings = getattr(info, "siblings", None) or []
        wanted = choose(sibling.rfilename for sibling in siblings)
        small = [name for name in wanted if name.endswith(SMALL)]
        folder = Path(snapshot_download(repository, allow_patterns=small))
        if check is not None:
            check(folder)
        folder = Path(snapshot_download(repository, allow_patterns=wanted))
        choose(names_in(folder))
    except AnaMoDiffError:
        raise
    except LookupError as error:
        raise NotFetchedError(
            f"{role} {repository}: the hub's repository lacks {_words(error)}: {cure}"
        ) from error
    except Exception as error:  # the hub client raises its own, requests' and httpx' kinds
        raise NotFetchedError(_not_fetched(repository, choose, role, cure, error)) from error
    return folder


def download_file(repository: str, file: str, *, role: str, cure: str) -> Path:
    """Fetch one file of a repository into the hub's cache, resuming what was stopped.

    Raises:
        AnaMoDiffError: it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # as above
        raise AnaMoDiffError(
            f"{role} {file} is not in {cache_folder(repository)} and could not be fetched from "
            f"{repository} ({type(error).__name__}): {cure}"
        ) from error


def find_file(name: str) -> Path | None:
    """A file of that name in the hub's cache, from whichever repository."""
    return next(_cache().glob(f"models--*/snapshots/*/**/{name}"), None)


def cache_folder(repository: str) -> Path:
    """Where the hub's cache keeps a repository."""
    return _cache() / f"models--{repository.replace('/', '--')}"


def id_of(folder: Path) -> str | None:
    """The hub id of a folder in a hub's cache; None elsewhere."""
    for parent in folder.parents:
        start, _, rest = parent.name.partition("--")
        if start == "models" and rest:
            return rest.replace("--", "/", 1)
    return None


def names_in(folder: Path) -> list[str]:
    """Names of the files in a folder and the folders below it, relative to it, with slashes."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def fetch_command(repository: str) -> str:
    """What to type to have a repository fetched."""
    word = next((word for word, known in SHORT_NAMES.items() if known == repository), repository)
    return f"anamodiff fetch {word}"


def _not_fetched(repository: str, choose: Choose, role: str, cure: str, error: Exception) -> str:
    state = "not in"
    for folder in _snapshots(repository)[:1]:
        try:
            choose(names_in(folder))
        except LookupError as missing:
            state = f"without {_words(missing)} in"
    return (
        f"{role} {repository} is {state} {cache_folder(repository)} and could not be fetched "
        f"({type(error).__name__}): go online and run {fetch_command(repository)}, or {cure}"
    )


def _snapshots(repository: str) -> list[Path]:
    """Snapshots in the cache, the one that `main` names first."""
    home = cache_folder(repository)
    main = home / "refs" / "main"
    first = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
    found = sorted(home.glob("snapshots/*"), reverse=True)
    return sorted(found, key=lambda folder: folder.name != first)


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _words(error: LookupError) -> str:
    return str(error.args[0]) if error.args else "a file"
