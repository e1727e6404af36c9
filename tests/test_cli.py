"""The command line: flags become the stages' arguments, and every mistake one line."""

import importlib
import inspect
import logging
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from omegaconf import DictConfig

import anamodiff
from anamodiff import cli, config, settings
from anamodiff.errors import AnaMoDiffError

ROOT = Path(__file__).resolve().parents[1]
PAIR = ["transfer", "--source", "s.gif", "--driving", "d.gif", "--prompt", "a turtle"]


COMPOSE = config.compose


@cache
def composed(name: str, *overrides: str) -> DictConfig:
    """Composes each distinct command line once: Hydra takes a tenth of a second."""
    return COMPOSE(name, overrides)


class Stages:
    """Stands for the pipeline: keeps what each stage was called with, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[str, dict]] = []
        self.error: BaseException | None = None

    def stage(self, name: str, outcome: object) -> Callable[..., object]:
        def call(*arguments: object, **keywords: object) -> object:
            self.calls.append((name, {"arguments": arguments} if arguments else keywords))
            if arguments:
                self.calls[-1][1].update(keywords)
            if self.error is not None:
                raise self.error
            return outcome

        return call

    @property
    def last(self) -> dict:
        return self.calls[-1][1]


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """The command line with every heavy module replaced, so that it runs without torch."""
    fake = Stages(tmp_path / "run")
    fake.folder.mkdir()
    result = SimpleNamespace(
        run=fake.folder,
        video=fake.folder / "result.mp4",
        timings={"tune": 61.25, "sample": 3.0},
        save=lambda path: Path(path),
        frames=None,
    )
    pipeline = ModuleType("anamodiff.pipeline")
    for name in ("transfer", "demo", "generate"):
        setattr(pipeline, name, fake.stage(name, result))
    pipeline.tune = fake.stage("tune", fake.folder)
    inspection = ModuleType("anamodiff.inspection")
    found = SimpleNamespace(sheet=Path("outputs/s-flow.png"), lines=["folded over: 1.00%"])
    inspection.inspect = fake.stage("inspect", found)
    evaluation = ModuleType("anamodiff.evaluation")
    found = SimpleNamespace(lines=["foreground IoU  0.8000"], output=None)
    evaluation.evaluate = fake.stage("evaluate", found)
    benchmark = ModuleType("anamodiff.evaluation.benchmark")
    benchmark.benchmark = fake.stage("benchmark", fake.folder)
    (fake.folder / "table.md").write_text("| method |\n")
    ablation = ModuleType("anamodiff.evaluation.ablation")
    made = SimpleNamespace(folder=fake.folder, picture=fake.folder / "figure7.png")
    ablation.ablation = fake.stage("ablation", made)
    survey = ModuleType("anamodiff.evaluation.survey")
    found = SimpleNamespace(page=Path("outputs/survey/page"), key=Path("outputs/survey/key.json"))
    survey.write_survey = fake.stage("write_survey", found)
    ranking = ModuleType("anamodiff.evaluation.ranking")
    found = SimpleNamespace(lines=["motion  mean rank"])
    ranking.survey_results = fake.stage("survey_results", found)
    many = ModuleType("anamodiff.many")
    found = SimpleNamespace(table="row", folder=fake.folder, outcomes=[], undone=[])
    many.transfer_many = fake.stage("transfer_many", found)
    fetching = ModuleType("anamodiff.fetching")
    fetching.fetch = fake.stage("fetch", ["fomm: /cache/mgif-cpk.pth.tar"])
    doctor = ModuleType("anamodiff.doctor")
    doctor.doctor = fake.stage("doctor", ["device: cpu"])
    lofnet = ModuleType("anamodiff.lofnet")
    lofnet.train_lofnet = fake.stage("train_lofnet", fake.folder)
    backbone = ModuleType("anamodiff.backbone")
    backbone.Backbone = SimpleNamespace(load=fake.stage("load", "the backbone"))
    for module in (
        pipeline,
        inspection,
        evaluation,
        benchmark,
        ablation,
        survey,
        ranking,
        many,
        fetching,
        doctor,
        lofnet,
        backbone,
    ):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cli, "quiet_libraries", lambda: None)
    monkeypatch.setattr(
        config, "compose", lambda name, overrides: deepcopy(composed(name, *overrides))
    )
    for name in ("transfer", "demo", "generate", "inspect", "tune"):
        monkeypatch.delitem(vars(anamodiff), name, raising=False)
    return fake


@pytest.fixture(autouse=True)
def _no_fakes_left() -> Iterator[None]:
    """Public names that the package fetched from fakes are fetched anew."""
    yield
    for name in anamodiff.__all__:
        if name != "__version__":
            vars(anamodiff).pop(name, None)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Gives the logger of the package back as it was."""
    log = logging.getLogger("anamodiff")
    handlers, level = log.handlers[:], log.level
    yield
    log.handlers[:], log.level = handlers, level


def test_flags_become_arguments(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (
        "--output out.mp4 --backbone mini --lofnet weights --frames 8 --seed 3 --steps 20 "
        "--iterations 100 --guidance 2.5 --noise-min 900 --device cpu --precision fp32 "
        "--start-frame 4 --resume --vram 8 --preset fast"
    )
    assert cli.main([*PAIR, *flags.split()]) == 0
    name, called = stages.calls[0]
    tuning, generation = called.pop("tuning"), called.pop("generation")
    assert called.pop("adaptation") == {"scale": None, "smooth": None}
    assert called.pop("memory") == {"vram": 8, "offload": None, "frames_at_once": None}
    assert name == "transfer"
    assert called == {
        "source": "s.gif",
        "driving": "d.gif",
        "prompt": "a turtle",
        "output": "out.mp4",
        "backbone": "mini",
        "lofnet": "weights",
        "frames": 8,
        "seed": 3,
        "preset": "fast",
        "device": "cpu",
        "precision": "fp32",
        "start_frame": 4,
        "resume": True,
        "progress": True,
    }
    assert (tuning["iterations"], tuning["noise_min"]) == (100, 900)
    assert (generation["steps"], generation["guidance"]) == (20, 2.5)


def test_without_flags_the_configs_defaults_hold(stages: Stages) -> None:
    assert cli.main(PAIR) == 0
    assert (stages.last["frames"], stages.last["start_frame"]) == (10, "first")
    assert stages.last["tuning"]["iterations"] is None, "left to the backbone's folder"


def test_overrides_follow_flags_in_any_order(stages: Stages) -> None:
    words = ["--frames", "6", "tuning.lr=1e-4", "--seed", "2", "tuning.rank=8", "frames=5"]
    assert cli.main([*PAIR, *words]) == 0
    tuning = stages.last["tuning"]
    assert (tuning["lr"], tuning["rank"], stages.last["seed"]) == (1e-4, 8, 2)
    assert stages.last["frames"] == 5, "a later override wins over a flag"


@pytest.mark.parametrize(
    "prompt",
    [
        "a turtle, running",
        'it\'s a "turtle"',
        "x=[1, 2], {y: ${seed}}",
        "100 $ (a lot)",
        "null",
        "10",
        "back\\slash\\",
        "~+@ 🐢",
    ],
)
def test_prompts_and_paths_arrive_untouched(stages: Stages, prompt: str) -> None:
    path = f"my clips/{prompt}/lr=1.gif"
    words = ["--source", path, "--driving", path, "--prompt", prompt, "--output", path]
    assert cli.main(["transfer", *words]) == 0
    for key in ("source", "driving", "output"):
        assert stages.last[key] == path
    assert stages.last["prompt"] == prompt


def test_text_settings_may_follow_without_quotes(stages: Stages) -> None:
    words = ["generation.negative_prompt=blurry, dark", "backbone=my models/sd=1"]
    assert cli.main([*PAIR, *words]) == 0
    assert stages.last["generation"]["negative_prompt"] == "blurry, dark"
    assert stages.last["backbone"] == "my models/sd=1"


def test_a_result_is_announced(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert f"video: {stages.folder / 'result.mp4'}\n" in out
    assert "comparison" not in out, "only a comparison that exists is announced"
    assert re.search(r"^took \d+\.\d s: start \d+\.\d, tune 61\.2, sample 3\.0$", out, re.M)
    (stages.folder / "comparison.mp4").touch()
    cli.main(["demo"])
    assert f"comparison: {stages.folder / 'comparison.mp4'}\n" in capsys.readouterr().out


def test_demo_takes_no_clips(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--iterations", "5"]) == 0
    assert not {"source", "driving", "prompt"} & set(stages.last)
    assert cli.main(["demo", "--source", "s.gif"]) == 2
    assert "demo has no flag --source" in capsys.readouterr().err


def test_tune_says_how_to_generate(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tune", *PAIR[1:]]) == 0
    assert "generation" not in stages.last
    following = re.search(r"^next: anamodiff (.*)$", capsys.readouterr().out, re.M)[1]
    assert cli.main(shlex.split(following)) == 0
    assert stages.calls[-1][0] == "generate"
    assert stages.last["run"] == str(stages.folder)


@pytest.mark.parametrize(
    ("words", "run", "output"),
    [
        (["--run", "a", "--output", "b"], "a", "b"),
        (["--run", "a"], "a", None),
        (["--output", "a"], "a", None),
        (["--run", "a", "--output", "b.GIF"], "a", "b.GIF"),
    ],
)
def test_generate_takes_the_run_folder(
    stages: Stages, words: list[str], run: str, output: str | None
) -> None:
    assert cli.main(["generate", *words]) == 0
    assert (stages.last["run"], stages.last["output"]) == (run, output)
    assert "tuning" not in stages.last


def test_generate_needs_a_run(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--output", "a.mp4"]):
        assert cli.main(["generate", *words]) == 2
        assert "expected --run, got none" in capsys.readouterr().err


def test_inspect_takes_a_clip(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["my clip,1.gif", "--frames", "4"], ["--frames", "4", "my clip,1.gif"]):
        assert cli.main(["inspect", *words, "adaptation.scale=none"]) == 0
        name, called = stages.calls[-1]
        assert (name, called["clip"], called["driving"]) == ("inspect", "my clip,1.gif", None)
        assert (called["frames"], called["adaptation"]["scale"]) == (4, "none")
    assert "sheet: outputs/s-flow.png\nfolded over: 1.00%\n" in capsys.readouterr().out
    assert cli.main(["inspect", "a.gif", "--driving", "b.gif", "--output", "c.png"]) == 0
    assert (stages.last["driving"], stages.last["output"]) == ("b.gif", "c.png")
    for words, line in (([], "expected CLIP, got none"), ([""], "CLIP: expected text that is not")):
        assert cli.main(["inspect", *words]) == 2
        assert line in capsys.readouterr().err


def test_evaluate_takes_a_result(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--truth", "t.gif", "my run", "--clip-model", "none", "--output", "a.json", "size=64"]
    assert cli.main(["evaluate", *words]) == 0
    assert stages.calls[-1] == (
        "evaluate",
        {
            "result": "my run",
            "source": None,
            "truth": "t.gif",
            "prompt": None,
            "clip_model": "none",
            "output": "a.json",
            "frames": 10,
            "size": 64,
            "device": "auto",
        },
    )
    assert "foreground IoU  0.8000\ntook " in capsys.readouterr().out
    assert cli.main(["evaluate", "--prompt", "a turtle"]) == 2
    assert "expected RESULT, got none" in capsys.readouterr().err


def test_survey_takes_results(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["my results", "--pairs", "3", "--methods", "a,b", "--seed", "2"]
    for flag in ("--out", "--output"):
        assert cli.main(["survey", *words, flag, "my survey", "show.title=Ours, and theirs"]) == 0
        assert stages.calls[-1] == (
            "write_survey",
            {
                "results": "my results",
                "output": "my survey",
                "seed": 2,
                "pairs": 3,
                "methods": "a,b",
                "title": "Ours, and theirs",
            },
        )
    assert "key: outputs/survey/key.json (" in capsys.readouterr().out


def test_survey_results_takes_files_in_any_order(
    stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "unit=x.json"
    odd.touch()
    words = [
        "a, b.json",
        "--key",
        "k.json",
        "c.json",
        "unit=ranking",
        str(odd),
        "--output",
        "r.json",
    ]
    assert cli.main(["survey-results", *words]) == 0
    assert stages.calls[-1] == (
        "survey_results",
        {
            "answers": ["a, b.json", "c.json", str(odd)],
            "key": "k.json",
            "output": "r.json",
            "unit": "ranking",
        },
    )
    assert "motion  mean rank\nfigures: r.json\n" in capsys.readouterr().out
    mistakes = {
        (): "expected ANSWERS, got none",
        ("a.json", "unitt=x"): "unknown setting 'unitt'; did you mean unit?",
        ("a.json", "--kye", "k.json"): "has no flag --kye; did you mean --key?",
        ("a.json", "unit=pair"): "unit: expected one of person, ranking, got 'pair'",
    }
    for wrong, line in mistakes.items():
        assert cli.main(["survey-results", *wrong]) == 2
        assert line in capsys.readouterr().err


def test_transfer_many_takes_a_list(stages: Stages, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["transfer-many", "my list, 1.csv", "--frames", "4", "tuning.lr=1e-4", "threads=3"]
    words += ["--vram", "8"]
    assert cli.main([*words, "--output", "all"]) == 0
    (name, called) = stages.calls[-1]
    assert (name, called.pop("arguments")) == (
        "transfer_many", (str(tmp_path / "my list, 1.csv"),)
    )  # fmt: skip
    sections = {key: called.pop(key) for key in ("adaptation", "memory", "tuning", "generation")}
    assert sections["tuning"]["lr"] == 1e-4
    assert sections["memory"]["vram"] == 8
    assert called == {
        "output": "all",
        "sweep": None,
        "threads": 3,
        "backbone": "auto",
        "lofnet": None,
        "frames": 4,
        "seed": 0,
        "start_frame": "first",
        "preset": None,
        "device": "auto",
        "precision": "auto",
        "progress": True,
    }


def test_jobs_get_the_settings_of_transfer_many(
    stages: Stages, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["l.csv", "--jobs", "4", "--iterations", "5", "launcher=joblib", "launch='+a.b=1 c=2'"]
    assert cli.main(["transfer-many", *words]) == 0
    swept: dict = {}
    monkeypatch.setattr(config, "multirun", lambda *words, **keys: swept.update(keys, words=words))
    stages.last["sweep"](Path("all"), 3)
    name, overrides, key, jobs = swept["words"]
    assert (name, key, list(jobs)) == ("transfer_many", "job", [0, 1, 2]), "one for each row"
    assert (swept["launcher"], swept["folder"]) == ("joblib", tmp_path / "all" / "hydra")
    own = ["hydra.launcher.n_jobs=3", "+hydra.launcher.a.b=1", "hydra.launcher.c=2"]
    assert overrides[-3:] == own
    share = ModuleType("anamodiff.many")
    share.transfer_share = stages.stage("transfer_share", None)
    monkeypatch.setitem(sys.modules, "anamodiff.many", share)
    swept["task"](COMPOSE(name, [*overrides[:-3], "job=2"]))
    called = stages.last
    assert called["arguments"] == (str(tmp_path / "l.csv"),)
    assert (called["output"], called["job"], called["jobs"]) == (str(tmp_path / "all"), 2, 3)
    assert called["tuning"]["iterations"] == 5
    assert not {"launcher", "launch", "list"} & set(called)


def test_fetch_and_doctor(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fetch", "fomm", "--from", "some/one/a.pth.tar", "--device", "cpu"]) == 0
    assert stages.calls[-1] == (
        "fetch",
        {"what": "fomm", "source": "some/one/a.pth.tar", "device": "cpu", "precision": "auto"},
    )
    assert cli.main(["doctor", "--precision", "bf16", "--frames", "16"]) == 0
    assert stages.calls[-1] == ("doctor", {"frames": 16, "device": "auto", "precision": "bf16"})
    assert capsys.readouterr().out == "fomm: /cache/mgif-cpk.pth.tar\ndevice: cpu\n"
    assert cli.main(["fetch"]) == 2
    assert "expected WHAT, got none" in capsys.readouterr().err


def test_train_lofnet_loads_the_backbone(stages: Stages) -> None:
    words = ["--backbone", "mini", "--device", "cpu", "--steps", "7", "--resume"]
    assert cli.main(["train-lofnet", "data=my clips, new", *words]) == 0
    (load, loaded), (train, trained) = stages.calls
    assert (load, loaded["arguments"]) == ("load", ("mini",))
    assert loaded["device"] == "cpu"
    assert (train, trained["arguments"]) == ("train_lofnet", ("my clips, new",))
    assert (trained["backbone"], trained["steps"], trained["resume"]) == ("the backbone", 7, True)
    assert trained["config"]["dense_motion"]["num_kp"] == 10
    assert (trained["detector"], trained["checkpoint"]) == ("own", None)


def test_train_lofnet_starts_from_fomm(stages: Stages) -> None:
    words = ["lofnet.detector=fomm", "lofnet.checkpoint=my files/a, b.pth.tar", "lofnet.config=c"]
    assert cli.main(["train-lofnet", "data=clips", *words, "lofnet.detector_lr=0"]) == 0
    trained = stages.calls[-1][1]
    given = {"detector": "fomm", "checkpoint": "my files/a, b.pth.tar", "detector_config": "c"}
    assert (given | {"detector_lr": 0}).items() <= trained.items()


def test_of_several_processes_the_first_speaks(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, said in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        assert cli.main(["train-lofnet", "data=clips"]) == 0
        logging.getLogger("anamodiff.lofnet").warning("a clip was skipped")
        out, err = capsys.readouterr()
        assert (out.count("LOFNet: "), err.count("a clip was skipped")) == (said, said)
    stages.error = RuntimeError("boom")
    cli.main(["train-lofnet", "data=clips"])
    assert capsys.readouterr().err.startswith("anamodiff (process 1): unexpected error")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["transfr"], r"invalid choice: 'transfr'"),
        (["transfer"], r"expected --source and --driving and --prompt, got none"),
        ([*PAIR, "--promt", "x"], r"has no flag --promt; did you mean --prompt or --preset\?"),
        ([*PAIR, "--promt=x"], r"has no flag --promt; did you mean --prompt or --preset\?"),
        ([*PAIR, "--itera", "5"], r"has no flag --itera; did you mean --iterations\?"),
        ([*PAIR, "x.gif"], r"expected a flag such as --prompt or SETTING=VALUE.*got 'x.gif'"),
        ([*PAIR, "--frames"], r"--frames: expected one argument"),
        ([*PAIR, "--frames", "1"], r"--frames: expected a whole number of at least 2, got 1$"),
        ([*PAIR, "--frames", "x"], r"--frames: expected a whole number .*, got 'x'$"),
        ([*PAIR, "--frames", "2.5"], r"--frames: expected a whole number .*, got 2.5$"),
        ([*PAIR, "--noise-min", "1000"], r"--noise-min: expected a whole number from 0 to 999"),
        ([*PAIR, "--guidance", "-1"], r"--guidance: expected a number of at least 0 or null"),
        ([*PAIR, "--prompt", ""], r"--prompt: expected text that is not empty, got ''$"),
        ([*PAIR, "--start-frame", "last"], r"--start-frame: expected \"first\", \"auto\""),
        ([*PAIR, "tuning.lrr=1"], r"unknown setting 'tuning.lrr'; did you mean tuning.lr"),
        ([*PAIR, "tuning.lr=fast"], r"tuning.lr: expected a number above 0 or null, got 'fast'$"),
        ([*PAIR, "tuning.lr=1,2"], r"tuning.lr: expected a number above 0 or null, got '1,2'$"),
        ([*PAIR, "+a=1"], r"expected a flag such as --prompt or SETTING=VALUE"),
    ],
)
def test_mistakes_are_one_line(
    stages: Stages, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert re.search(line, err)
    assert err.startswith("anamodiff: error: ") and err.count("\n") == 1
    assert out == "" and not stages.calls


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (AnaMoDiffError("expected a clip,\ngot none"), 2, "error: expected a clip, got none"),
        (
            FileNotFoundError(2, "No such file or directory", "s.gif"),
            2,
            "error: No such file or directory: s.gif",
        ),
        (OSError("the hub\nis away"), 2, "error: the hub is away"),
        (
            RuntimeError("boom\nbang"),
            1,
            "unexpected error: RuntimeError: boom bang",
        ),
    ],
)
def test_errors_show_a_traceback_only_with_debug(
    stages: Stages,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    stages.error = error
    assert cli.main(["demo"]) == code
    hint = "; run again with --debug to see where" if code == 1 else ""
    assert capsys.readouterr().err == f"anamodiff: {line}{hint}\n"
    for words in (["--debug", "demo"], ["demo", "--debug"], ["demo", "--seed", "1", "--debug"]):
        assert cli.main(words) == code
        err = capsys.readouterr().err
        assert err.startswith("Traceback (most recent call last)")
        assert err.endswith(f"anamodiff: {line}\n")


def test_an_interrupted_run_says_how_to_go_on(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.error = KeyboardInterrupt()
    lines = {
        ("demo",): "stopped; the same command with --resume goes on from there\n",
        ("demo", "--output", "my run"): "stopped; the same command with --resume --output 'my run'",
        ("generate", "--run", "a"): "stopped\n",
    }
    for words, line in lines.items():
        assert cli.main(words) == 130
        err = capsys.readouterr().err
        assert err.startswith(f"anamodiff: {line}") and err.count("\n") == 1
    stages.error.run = Path("outputs/7")
    assert cli.main(["demo", "--output", "a.mp4"]) == 130
    assert "--resume --output outputs/7 goes on" in capsys.readouterr().err


def test_messages_of_the_library_go_to_stderr(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["demo"])
    logging.getLogger("anamodiff.backbone").info("backbone: mini (no CUDA device)")
    logging.getLogger("anamodiff.backbone").debug("more than one wants to know")
    out, err = capsys.readouterr()
    assert err == "backbone: mini (no CUDA device)\n"
    cli.main(["demo", "--debug"])
    logging.getLogger("anamodiff.backbone").debug("more than one wants to know")
    assert "more than one wants to know" in capsys.readouterr().err


def test_help_and_version(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["transfer", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.endswith(f"anamodiff {anamodiff.__version__}\n")
    for name in cli.COMMANDS:
        assert f"\n    {name}" in out
    assert cli.main([]) == 2
    assert "commands:" in capsys.readouterr().err


def test_every_flag_sets_a_setting_of_its_command() -> None:
    assert set(cli.FLAGS) == set(settings.FLAG_KEYS)
    used = {key for command in cli.COMMANDS.values() for key in command.flags}
    assert used == set(cli.FLAGS)
    for name, command in cli.COMMANDS.items():
        given = {"generate": {"run": "a"}, "inspect": {"clip": "a"}, "train-lofnet": {"data": "a"}}
        given |= {"evaluate": {"result": "a"}, "benchmark": {"pairs": "a"}}
        given |= {"transfer-many": {"list": "a"}}
        given |= {"survey": {"results": "a"}, "survey-results": {"answers": ["a"]}}
        given |= {"fetch": {"what": "sd14"}}
        given = given.get(name, {})
        pair = dict.fromkeys(("source", "driving", "prompt"), "a")
        values = cli.compose(name, given or (pair if "source" in command.flags else {}), [])
        for key in [*command.flags, command.example.partition("=")[0]]:
            group, _, last = key.rpartition(".")
            assert last in (values[group] if group else values), f"{name} has no {key}"


def test_defaults_in_the_help_are_the_configs() -> None:
    values = cli.compose("transfer", dict.fromkeys(("source", "driving", "prompt"), "a"), [])
    for key in ("backbone", "frames", "start_frame", "device", "precision"):
        assert f"(default: {values[key]})" in cli.FLAGS[key][1]
    training = cli.compose("train-lofnet", {"data": "a"}, [])["training"]
    assert f"(default: {training['steps']})" in cli.FLAGS["training.steps"][1]


def _blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.M | re.S)


def _commands() -> list[str]:
    """Each command of README.md's bash blocks; `&&` joins several, `#` begins a comment."""
    lines = "".join(_blocks("bash")).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.partition(" #")[0].split("&&")]
    return [part.strip() for part in parts if part.strip() and not part.startswith("#")]


def test_readme_begins_with_the_two_commands() -> None:
    assert _commands()[:4] == ["pip install .", "anamodiff demo", 'pip install ".[test]"', "pytest"]


@pytest.mark.parametrize("command", sorted({c for c in _commands() if c.startswith("anamodiff")}))
def test_commands_in_the_readme_work(
    stages: Stages, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)[1:]
    try:
        code = cli.main(words)
    except SystemExit as stop:  # --help
        code = stop.code
    assert code == 0, capsys.readouterr().err


def test_other_commands_in_the_readme_are_run_by_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for command in _commands():
        if not command.startswith("anamodiff ") or command == "anamodiff demo":
            assert any(re.search(rf"(^|\s){re.escape(command)}$", line) for line in ci), command


def test_python_in_the_readme_works(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Transfers:
        load = staticmethod(stages.stage("load", None))

    pipeline = importlib.import_module("anamodiff.pipeline")
    Transfers.load = staticmethod(stages.stage("load", SimpleNamespace(transfer=pipeline.transfer)))
    monkeypatch.setattr(pipeline, "MotionTransfer", Transfers, raising=False)
    monkeypatch.delitem(vars(anamodiff), "MotionTransfer", raising=False)
    blocks = _blocks("python")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "transfer" in {name for name, _ in stages.calls}


def test_libraries_fall_silent_but_downloads_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.utils import logging as diffusers_logging
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging as transformers_logging

    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        monkeypatch.setenv(name, "error")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        monkeypatch.setattr(sys, "warnoptions", [])
        cli.quiet_libraries()
        warnings.warn("noise", stacklevel=1)
    assert not shown
    assert not diffusers_logging.is_progress_bar_enabled()
    assert not transformers_logging.is_progress_bar_enabled()
    assert not are_progress_bars_disabled()


def test_the_stages_take_what_the_configs_give() -> None:
    from anamodiff.evaluation import evaluate
    from anamodiff.evaluation.ranking import survey_results
    from anamodiff.evaluation.survey import TITLE, write_survey
    from anamodiff.inspection import inspect as inspect_clip
    from anamodiff.pipeline import generate, transfer

    pair = dict.fromkeys(("source", "driving", "prompt"), "a")
    stages = {transfer: pair, generate: {"run": "a"}, inspect_clip: {"clip": "a"}}
    stages |= {evaluate: {"result": "a"}, survey_results: {"answers": ["a"]}}
    for stage, flags in stages.items():
        values = cli.compose(stage.__name__.replace("_", "-"), flags, [])
        assert set(values) == set(inspect.signature(stage).parameters)
    values = cli.compose("survey", {"results": "a"}, [])
    show = values.pop("show")
    assert {*values, *show} == set(inspect.signature(write_survey).parameters)
    assert show["title"] == TITLE


def test_a_transfer_from_the_command_line(
    tiny_backbone_folder: Path,
    drawn_clips: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "quiet_libraries", lambda: None)
    source, driving = map(str, drawn_clips)
    run, video = tmp_path / "a run", tmp_path / "again.gif"
    words = ["--source", source, "--driving", driving, "--prompt", "a turtle, green"]
    words += ["--backbone", str(tiny_backbone_folder), "--output", str(run), "--device", "cpu"]
    words += ["--frames", "3", "--iterations", "2", "tuning.rank=2", "progress=false"]
    assert cli.main(["transfer", *words, "--steps", "2", "--guidance", "2"]) == 0
    out = capsys.readouterr().out
    assert f"video: {run / 'result.mp4'}\n" in out
    assert f"comparison: {run / 'comparison.mp4'}\n" in out
    words = ["--run", str(run), "--output", str(video), "--device", "cpu"]
    assert cli.main(["generate", *words, "--steps", "2", "--seed", "1"]) == 0
    assert video.stat().st_size > 0
