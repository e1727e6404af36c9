"""Every command refuses what it cannot use in one line: what was expected, what came, the cure."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bad_samples import is_helpful, refusal

from anamodiff.cli.commands import COMMANDS


@dataclass(frozen=True)
class Row:
    """A command line and what the refusal says.

    Attributes:
        words: `B` stands for the folder of bad inputs, `W` for the backbone, `L` for its LOFNet.
        says: a regular expression.
        more: words that hold blanks.
        warnings: lines before the refusal.
    """

    words: str
    says: str
    more: tuple[str, ...] = field(default=())
    warnings: int = 0


PAIR = "--source B/clips/whole.gif --driving B/clips/whole.mp4"
HERE = "--backbone W --device cpu --prompt turtle --frames 3"
T = f"transfer {PAIR} {HERE}"
BARE = f"{PAIR} --backbone W --device cpu --frames 3"

#: Files that are no clips, and what is said of them.
NO_CLIPS = {
    "missing.mp4": "nothing at .*missing.mp4; check the name",
    "empty.mp4": "an empty file",
    "nothing": "got none among 0 files",
    "words": "got none among 1 files",
    "text.mp4": "text that begins with 'a few words",
    "page.mp4": "text that begins with '<!DOCTYPE html",
    "page.gif": "text that begins with '<!DOCTYPE html",
    "drawing.svg": "text that begins with",
    "archive.mp4": "got ZIP, which is not supported",
    "cut.mp4": "damaged, truncated or unknown",
    "cut.gif": "damaged|truncated|without a readable frame|got one picture",
    "cut.png": "damaged|truncated",
    "noise.bin": "damaged, truncated or unknown",
    "zeros.mp4": "damaged, truncated or unknown",
    "paper.pdf": "got PDF, which is not supported",
    "sound.wav": "damaged, truncated or unknown|sound",
    "endless.mp4": "damaged, truncated or unknown",
    "list.ffconcat": "damaged, truncated or unknown",
    "huge.gif": "at most 178 megapixels",
    "huge.png": "at most 178 megapixels",
    "bombs": "at most 178 megapixels",
    "gone.mp4": "nothing at",
    "loop.mp4": "too many levels of symbolic links|nothing at",
    "pipe.mp4": "a pipe, socket or device",
    "/dev/zero": "a pipe, socket or device",
}
#: Where a clip is named, besides the source of a transfer.
PLACES = {
    "transfer-driving": f"transfer {HERE} --source B/clips/whole.gif --driving",
    "tune-source": f"tune {HERE} --driving B/clips/whole.mp4 --source",
    "inspect-clip": "inspect --backbone W --device cpu",
    "inspect-driving": "inspect B/clips/whole.gif --backbone W --device cpu --driving",
    "evaluate-result": "evaluate --clip-model none --device cpu",
    "evaluate-source": "evaluate B/clips/whole.mp4 --clip-model none --device cpu --source",
    "evaluate-truth": "evaluate B/clips/whole.mp4 --clip-model none --device cpu --truth",
}
FEW = ("empty.mp4", "cut.gif", "huge.gif", "pipe.mp4")

ROWS = [
    # Settings that are misspelt: the nearest is named.
    Row("transfr", "invalid choice: 'transfr'"),
    Row("demo --sede 1", r"no flag --sede; did you mean --seed\?"),
    Row(f"{T} tuning.lrr=1", r"unknown setting 'tuning.lrr'; did you mean tuning.lr\?"),
    Row(f"{T} --guidence 2", r"did you mean --guidance\?"),
    Row(f"tune {PAIR} {HERE} tuning.itterations=2", r"did you mean tuning.iterations\?"),
    Row("generate --run B/whole_run generation.stepz=3", r"did you mean generation.steps\?"),
    Row("inspect B/clips/whole.gif adaptation.scal=none", r"did you mean adaptation.scale\?"),
    Row("evaluate B/clips/whole.gif sise=64", r"did you mean size\?"),
    Row("benchmark creatures --limt 1", r"did you mean --limit\?"),
    Row("ablation figure4", "figure: expected figure10 or figure5 or"),
    Row("survey B/tables/page show.titel=x", r"did you mean show.title\?"),
    Row("survey-results B/tables/page.json unti=person", r"did you mean unit\?"),
    Row("train-lofnet --data B/clips training.ler=1", r"did you mean training.lr\?"),
    Row("train-lofnet --data B/clips network.frame_siz=8", r"did you mean network.frame_size\?"),
    Row("transfer-many B/lists/column.csv", r"did you mean tuning.lr\?"),
    Row("transfer-many B/lists/column.csv lanch=x", r"did you mean launch\?"),
    Row("fetch sd14 --form x", r"did you mean --from\?"),
    Row("doctor --devise cpu", r"did you mean --device\?"),
    # Settings out of range, or of another kind.
    Row("demo --frames 1", "--frames: expected a whole number from 2 to 600, got 1"),
    Row("demo --frames nan", "--frames: expected a whole number"),
    Row("demo --seed -1", "--seed: expected a whole number"),
    Row("demo --vram 10", "--vram: expected one of 8, 12, 16, 24, auto"),
    Row("demo --preset quick", "--preset: expected one of paper, fast"),
    Row("demo --precision fp8", "--precision: expected one of auto, fp32"),
    Row(f"{T} tuning.lr=0", "tuning.lr: expected a number above 0"),
    Row(f"{T} tuning.lr=inf", "tuning.lr: expected a number above 0"),
    Row(f"{T} --iterations -5", "--iterations: expected a whole number of at least 0"),
    Row(f"{T} --noise-min 900 tuning.noise_max=900", "tuning.noise_min: expected less than"),
    Row(f"{T} generation.window=4 generation.overlap=4", "generation.overlap: expected at least"),
    Row(f"{T} --start-frame 99", "start.frame.* 99"),
    Row(f"transfer {PAIR} --prompt x --backbone W --device quantum",
        "expected a device such as auto"),
    Row(f"transfer {PAIR} --prompt x --backbone W --device cuda:77",
        "no CUDA device is here|invalid device|expected"),
    Row("generate --run B/whole_run --steps 0", "--steps: expected a whole number from 1 to 1000"),
    Row("inspect B/clips/whole.gif --frames 0", "--frames: expected a whole number"),
    Row("evaluate B/clips/whole.gif size=3", "size: expected a whole number from 16"),
    Row("benchmark creatures --limit 0", "--limit: expected a whole number of at least 1"),
    Row("benchmark creatures --methods nonsense", "expected.*nonsense"),
    Row("ablation figure7 --limit -1", "--limit: expected a whole number of at least 1"),
    Row("survey B/tables/page --pairs 0", "--pairs: expected a whole number of at least 1"),
    Row("survey-results B/tables/page.json unit=pair", "unit: expected one of person, ranking"),
    Row("train-lofnet --data B/clips --steps 0", "--steps: expected a whole number of at least 1"),
    Row("train-lofnet --data B/clips training.batch_size=0", "training.batch_size: expected"),
    Row("transfer-many B/lists/range.csv", "row 1: frames: expected a whole number from 2 to 600"),
    Row("transfer-many B/lists/range.csv --jobs 0", "--jobs: expected a whole number"),
    Row("demo --frames 100000", "--frames: expected a whole number from 2 to 600, got 100000"),
    Row("app --port 0.5", "--port: expected"),
    Row("doctor --frames 0", "--frames: expected a whole number from 2 to 600"),
    Row("doctor --device quantum", "expected a device such as auto"),
    # Nothing given.
    Row("transfer", "expected --source and --driving and --prompt, got none"),
    Row("generate", "expected --run, got none"),
    Row("inspect", "expected CLIP, got none"),
    Row("train-lofnet", "expected --data, got none"),
    Row("fetch", "expected WHAT, got none"),
    # Prompts.
    Row(f"transfer {BARE} --prompt", "--prompt: expected a few words", ("",)),
    Row(f"transfer {BARE} --prompt", "--prompt: expected a few words", (" \t\n ",)),
    Row(f"transfer {BARE} --prompt", "--prompt: expected a few words", (" " * 10_000,)),
    Row(f"tune {BARE} --prompt", "--prompt: expected a few words", ("\u3000",)),
    Row(f"transfer {PAIR} --prompt x --frames", "--frames: expected a whole number",
        ("9" * 5000 + "x",)),
    # Clips of one frame.
    Row(f"transfer --source B/clips/whole.gif --driving B/clips/still.png {HERE}",
        "driving clip of at least 2 frames, got one picture"),
    Row("inspect B/clips/still.png --backbone W", "at least 2 frames, got one picture"),
    Row("evaluate B/clips/still.png --clip-model none", "at least 2 frames, got one picture"),
    Row(f"transfer --source B/clips/sizes --driving B/clips/whole.mp4 {HERE}",
        "frames of one size"),
    # Lists.
    *(
        Row(f"transfer-many B/lists/{name}", says)
        for name, says in {
            "missing.csv": "got nothing at",
            "empty.csv": "got none",
            "head_only.csv": "expected rows",
            "no_prompt.csv": "without prompt",
            "no_word.csv": "row 1: expected prompt, got none",
            "outside.csv": "output: expected a plain name",
            "twice.csv": "row 2: expected an output of its own",
            "page.csv": "expected the columns",
            "noise.csv": "expected text in UTF-8",
            "code.csv": "expected",
            "sheet.csv": "expected",
            "folder.csv": "is a directory|expected a file",
            "pipe.csv": "expected a file",
            "code.yaml": "expected YAML",
            "bomb.yaml": "expected settings such as source",
            "deep.yaml": "expected YAML",
            "mapping.yaml": "expected a YAML list of rows",
            "broken.yaml": "expected YAML",
            "notes.txt": "expected a list .csv, .tsv or .yaml",
        }.items()
    ),
    # Tables, pairs, answers.
    Row("survey B/tables/missing", "expected a folder with results.json"),
    Row("survey B/tables/page", "expected a benchmark's table"),
    Row("survey B/tables/deep", "expected a benchmark's table"),
    Row("survey B/tables/version", "got version 9"),
    Row("survey B/tables/other", "expected a benchmark's table"),
    Row("survey-results B/tables/page.json", "expected the survey's key.json"),
    Row("survey-results B/tables/page.json --key B/tables/page.json", "expected a survey's key"),
    Row("survey-results B/tables/page.json --key B/tables/deep.json", "expected a survey's key"),
    Row("survey-results B/tables/pipe.json", "expected a file of answers"),
    Row("survey-results B/tables/missing.json", "expected a file of answers, got nothing"),
    Row("survey-results B/tables/page.json --key B/tables/pipe.json", "expected"),
    Row("benchmark B/missing --backbone W --device cpu", "expected a folder of pairs|missing"),
    Row("benchmark B/tables/nothing --backbone W --device cpu", "expected"),
    Row("benchmark B/tables/incomplete --backbone W --device cpu", "expected"),
    Row("benchmark B/clips/whole.gif --backbone W --device cpu", "expected"),
    Row("benchmark creatures --method x=B/tables/deep.json", "expected JSON"),
    Row("benchmark creatures --method x=B/missing", "expected a folder of clips, a rival's weight"),
    Row("ablation figure7 pairs=B/missing --backbone W --device cpu", "expected"),
    # What is trained on.
    Row("train-lofnet --data B/missing --backbone W --device cpu", "expected a folder of clips"),
    Row("train-lofnet --data B/clips/whole.gif --backbone W --device cpu", "expected a folder"),
    Row("train-lofnet --data B/clips/nothing --backbone W --device cpu", "got none"),
    Row("train-lofnet --data B/tables/incomplete --backbone W --device cpu progress=false",
        "found none that can be read", warnings=1),
    # What is fetched.
    Row("examples B/clips/whole.gif", "expected"),
    Row("completion fish", "expected one of bash, zsh"),
    Row("fetch sd15x", "expected sd14, clip, tokenizer, fomm or a hub id"),
    Row("fetch some/model", "could not be fetched"),
    Row("fetch sd14 --from a/b/c", "expected --from only with fomm"),
    Row("fetch fomm --from nonsense", "expected where to fetch"),
    Row(f"transfer {PAIR} --prompt x --backbone no/such", "no/such"),
]  # fmt: skip


def _words(row: Row, bad: Path, whole: Path) -> list[str]:
    places = {"B": str(bad), "W": str(whole), "L": str(whole / "lofnet")}
    words = [re.sub(r"^(.*=)?([BWL])(?=/|$)", lambda m: (m[1] or "") + places[m[2]], word)
             for word in row.words.split()]  # fmt: skip
    return [*words, *row.more]


def _name(row: Row) -> str:
    return row.words.replace(f"{PAIR} {HERE} ", "")[:70]


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_one_line(
    bad: Path, tiny_backbone_folder: Path, fake_hub, capfd: pytest.CaptureFixture[str], row: Row,
    tmp_path: Path,
) -> None:  # fmt: skip
    line = refusal(capfd, _words(row, bad, tiny_backbone_folder), warnings=row.warnings)
    assert re.search(row.says, line, re.IGNORECASE), line
    assert is_helpful(line), line
    made = {path for path in tmp_path.rglob("*") if path.is_file()}
    made -= {path for path in made if "hydra" in path.parts or "hub cache" in path.parts}
    assert {path.name for path in made} <= {"turtle.gif", "rhino.gif", ".lock"}


@pytest.mark.parametrize("name", NO_CLIPS)
def test_no_source(
    bad: Path, tiny_backbone_folder: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    words = f"transfer {HERE} --driving B/clips/whole.mp4 --source".split()
    row = Row(" ".join(words), NO_CLIPS[name], (str(bad / "clips" / name),))
    line = refusal(capfd, _words(row, bad, tiny_backbone_folder))
    assert re.search(row.says, line, re.IGNORECASE) and is_helpful(line), line


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FEW)
def test_no_clip_elsewhere(
    bad: Path, tiny_backbone_folder: Path, capfd: pytest.CaptureFixture[str], place: str, name: str
) -> None:
    row = Row(PLACES[place], NO_CLIPS[name], (str(bad / "clips" / name),))
    line = refusal(capfd, _words(row, bad, tiny_backbone_folder))
    assert re.search(row.says, line, re.IGNORECASE) and is_helpful(line), line


def test_every_command_has_a_row() -> None:
    assert set(COMMANDS) <= {row.words.split()[0] for row in ROWS}
    assert len(ROWS) + len(NO_CLIPS) + len(PLACES) * len(FEW) >= 80
