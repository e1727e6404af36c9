"""Training in two processes: one run, of which the first process alone writes and speaks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anamodiff.lofnet.model import LOFNet

pytestmark = pytest.mark.slow
HELPERS = Path(__file__).resolve().parents[2] / "helpers"
SMALL = [
    f"network.{part}.{key}={value}"
    for part in ("detector", "dense_motion")
    for key, value in {"block_expansion": 4, "max_features": 8, "num_blocks": 2}.items()
]


def launch(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """`accelerate launch` with two processes on the CPU.

    With ``--cpu`` it would start one process, and leave several to MPI; what it starts for GPUs
    (torchrun) works without any.
    """
    package = Path(sys.modules["anamodiff"].__file__).parents[1]
    variables = {key: os.environ[key] for key in os.environ if not key.startswith("ACCELERATE_")}
    variables |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", "0", *map(str, words)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=900)


def test_processes_sample_their_own_pairs_and_share_the_gradient(
    folder: Path, tmp_path: Path
) -> None:
    done = launch(HELPERS / "run_in_processes.py", folder, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (
        json.loads((tmp_path / f"process{rank}.json").read_text()) for rank in range(2)
    )
    assert (first["whole"]["encoded"], second["whole"]["encoded"]) == (36, 0), "cached once"
    assert not set(first["whole"]["sampled"]) & set(second["whole"]["sampled"])
    for run in ("whole", "cut", "resumed", "stopped"):
        # From other pairs the same weights: the gradients were averaged.
        assert first[run]["weights"] == second[run]["weights"]
        assert len(first[run]["sampled"]) == len(second[run]["sampled"])
    assert first["cut"]["weights"] != first["whole"]["weights"] == first["resumed"]["weights"]
    for rank in (first, second):
        assert rank["cut"]["sampled"] + rank["resumed"]["sampled"][1:] == rank["whole"]["sampled"]
    assert len(first["stopped"]["sampled"]) < 40
    whole, cut = (LOFNet.load(tmp_path / run).state_dict() for run in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").open()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_the_command_runs_under_accelerate(
    folder: Path, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    words = ["-m", "anamodiff", "train-lofnet", f"data={folder}", "--output", output]
    words += ["--backbone", tiny_backbone_folder, "--steps", "3", "training.batch_size=2"]
    words += ["training.epochs=null", "network.frame_size=32", "progress=false", *SMALL]
    done = launch(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("LOFNet: ") == done.stdout.count("next: ") == 1
    assert len(list(output.rglob("latents/*/*.safetensors"))) == 1
    assert {"lofnet.safetensors", "lofnet.json", "training.pt"} <= {
        f.name for f in output.iterdir()
    }
    lines = [json.loads(line) for line in (output / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [3, 3], "figures and measure, once each"
    again = launch(*words)
    assert again.returncode != 0
    # Whoever sees it first says so; the other process is stopped then, perhaps before it can.
    assert re.search(
        r"anamodiff( \(process 1\))?: error: expected a fresh output folder", again.stderr
    )
