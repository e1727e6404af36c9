"""`train-lofnet`, in one process and in several."""

import logging

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli


def test_train_lofnet_loads_the_backbone(stages: Stages) -> None:
    words = ["--backbone", "mini", "--device", "cpu", "--steps", "7", "--resume"]
    assert cli.main(["train-lofnet", "data=my clips, new", *words]) == 0
    (check, checked), (load, loaded), (train, trained) = stages.calls
    assert (check, checked["arguments"]) == ("check_inputs", ("my clips, new", "outputs/lofnet"))
    assert (load, loaded["arguments"]) == ("load", ("mini",))
    assert (loaded["device"], loaded["size"]) == ("cpu", "unet")
    assert (train, trained["arguments"]) == ("train_lofnet", ("my clips, new",))
    assert (trained["steps"], trained["resume"]) == (7, True)
    assert trained["backbone"].name == "owner/name"
    assert trained["config"]["dense_motion"]["num_kp"] == 10
    assert (trained["detector"], trained["checkpoint"]) == ("own", None)


def test_train_lofnet_starts_from_fomm(stages: Stages) -> None:
    words = ["lofnet.detector=fomm", "lofnet.checkpoint=my files/a, b.pth.tar", "lofnet.config=c"]
    assert cli.main(["train-lofnet", "data=clips", *words, "lofnet.detector_lr=0"]) == 0
    trained = stages.calls[-1][1]
    given = {"detector": "fomm", "checkpoint": "my files/a, b.pth.tar", "detector_config": "c"}
    assert given.items() <= stages.calls[0][1].items(), "files are checked before a backbone loads"
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
