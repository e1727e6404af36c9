"""All stages on a CUDA device: a real one where there is one, else one without numbers.

Nothing may compute with tensors of two devices, and between the steps of tuning, inversion and
sampling the CPU may not wait for the GPU.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import torch
from fake_cuda import CUDA, FakeCuda, Waits, fake_cuda
from fake_graph import fake_recorders
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from costs.models import SMALL  # noqa: E402
from speed import stages  # noqa: E402

from anamodiff import cuda_graph
from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.lofnet.joints import JointDetector
from anamodiff.lofnet.model import build_lofnet, mini_config
from anamodiff.lofnet.point_retarget import PointRetargeter
from anamodiff.lofnet.retarget import Retargeter
from anamodiff.lofnet.training.dataset import Pairs
from anamodiff.lofnet.training.losses import LOFNetLoss, PlaneTransform
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.lofnet.windows import OVERLAP, WINDOW
from anamodiff.options import AdaptationOptions, CheckpointLevels, NoiseWarp, ScaleRule, Solver
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.tuning.optimiser import MasterWeights

REAL = torch.cuda.is_available()
DTYPES = [torch.bfloat16, torch.float16, torch.float32]
TINY = replace(SMALL, frames=4)
BLOCKS = {"block_expansion": 4, "max_features": 8, "num_blocks": 2, "num_kp": 5}
LOFNET = mini_config(32) | {
    "detector": {**BLOCKS, "num_channels": 3, "temperature": 0.1, "scale_factor": 0.5},
    "dense_motion": {**BLOCKS, "num_channels": 4},
}


class Steps:
    """A stage's progress function: from its first call to its last, nothing may wait."""

    def __init__(self, without_waiting) -> None:
        self.without_waiting = without_waiting
        self.seen: list[tuple[str, int]] = []
        self._inside = ExitStack()

    def __call__(self, stage: str, done: int, total: int, loss: float | None) -> None:
        self.seen.append((stage, done))
        if done == 0:
            self._inside.enter_context(self.without_waiting())
        elif done == total:
            self.close()

    def close(self) -> None:
        self._inside.close()


@contextmanager
def _no_synchronisation() -> Iterator[None]:
    """A real device's own check."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeCuda | None]:
    """Enters the CUDA device; yields it if it is a fake one."""
    if REAL:
        yield None
        return
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch) as mode:
        patch.setattr(MasterWeights, "backward", _no_backward)
        yield mode


@pytest.fixture(scope="module")
def without_waiting(fake):
    """A context in which waiting for the device is an error."""
    return fake.without_waiting if fake else _no_synchronisation


@pytest.fixture(scope="module")
def make_mover(without_waiting) -> Callable[[torch.dtype], MotionTransfer]:
    """Builds small models in a precision, each once."""

    @cache
    def make(dtype: torch.dtype) -> MotionTransfer:
        with stages.built_on(CUDA):
            lofnet = build_lofnet(LOFNET)
            lofnet.retargeter = PointRetargeter(lofnet.detector.config["num_kp"], 12, 1, 2)
            lofnet = lofnet.eval()
        return stages.make_mover(replace(TINY, dtype=dtype), lofnet, CUDA)

    return make


@pytest.fixture
def steps(without_waiting) -> Iterator[Steps]:
    steps = Steps(without_waiting)
    yield steps
    steps.close()  # a test that failed in a step leaves it open


def _no_backward(self: MasterWeights, loss: Tensor) -> None:
    """In place of a backward pass, which needs a driver: gradients of zero."""
    self.scaler.scale(loss)
    for _, parameter in self.parameters:
        parameter.grad = torch.zeros_like(parameter)


def on_cuda(*parts: Tensor | nn.Module) -> bool:
    tensors = [t for p in parts for t in (p.parameters() if isinstance(p, nn.Module) else [p])]
    return all(tensor.device == CUDA for tensor in tensors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transfer(steps, make_mover, dtype):
    mover = make_mover(dtype)
    options = mover.resolve(
        tuning={"iterations": 2, "plateau": 0.0, "window": 3}, generation={"steps": 2}
    )
    frames = stages.make_frames(TINY)
    warped = mover.method.warp(*frames, start_frame="auto", adaptation=options.adaptation)
    assert on_cuda(warped.latents, warped.warped, warped.flow, warped.adapted_points.value)
    unet, losses = mover.method.fit(warped, "x", options.tuning, progress=steps)
    assert len(losses) == 2 and on_cuda(unet)
    generation = replace(options.generation, window=3, overlap=1)
    latents = mover.method.sample(unet, warped, "x", generation, progress=steps)
    assert latents.shape == warped.warped.shape and on_cuda(latents)
    canvas = mover.method.decode_result(latents, warped, generation)
    assert canvas.shape == frames[1].shape
    assert steps.seen == [("tuning", i) for i in range(3)] + [
        (stage, i) for stage in ("inversion", "sampling") for i in range(3)
    ]


@pytest.mark.parametrize("levels", sorted({*get_args(CheckpointLevels)} - {"none"}))  # see above
@pytest.mark.parametrize("dtype", DTYPES)
def test_tuning_forward(steps, make_mover, dtype, levels):
    mover = make_mover(dtype)
    warped = mover.method.warp(*stages.make_frames(TINY))
    tuning = {"iterations": 1, "checkpoint_levels": levels}
    options = mover.resolve(tuning=tuning | {"clips_at_once": 1 if levels == "all" else 2})
    unet, losses = mover.method.fit(warped, "x", options.tuning, progress=steps)
    assert len(losses) == 1 and on_cuda(unet)


@pytest.mark.parametrize("scale", get_args(ScaleRule))
def test_adaptation(make_mover, scale):
    mover = make_mover(torch.float32)
    adaptation = AdaptationOptions(scale=scale, smooth=1.0)
    warped = mover.method.warp(*stages.make_frames(TINY), adaptation=adaptation)
    assert on_cuda(warped.flow, warped.adapted_points.value, warped.adapted_points.jacobian)


@pytest.mark.parametrize(
    ("mode", "solver"), list(zip(get_args(NoiseWarp), 2 * get_args(Solver), strict=True))
)
def test_sampling_from_an_intermediate(steps, make_mover, mode, solver):
    mover = make_mover(torch.bfloat16)
    warped = mover.method.warp(*stages.make_frames(TINY))
    unet = mover.method.inflate(mover.resolve().tuning).eval()
    generation = {"steps": 3, "solver": solver, "noise_warp": mode, "denoise_from": 700,
                  "window": 3, "overlap": 1}  # fmt: skip
    options = mover.resolve(generation=generation).generation
    assert on_cuda(mover.method.sample(unet, warped, "x", options, progress=steps))
    assert ("sampling", 2) in steps.seen


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("motion", ["affine", "tps"])
def test_lofnet_objective(without_waiting, motion, precision):
    with stages.built_on(CUDA):
        lofnet = build_lofnet(LOFNET | {"motion": motion}).train()
    for module in lofnet.modules():
        if isinstance(module, Hourglass):
            module.precision = precision
    objective = LOFNetLoss(lofnet, TrainOptions(balance=0.5), frozen=False)
    pairs = Pairs(torch.zeros(4, 3, 32, 32), torch.zeros(4, 4, 8, 8)).to(CUDA)
    generator = torch.Generator().manual_seed(0)
    transform = PlaneTransform.random(2, generator=generator).to(CUDA)
    with without_waiting():
        loss, figures = objective(pairs, transform, generator)
    assert on_cuda(loss, *figures.values())


def test_joints_and_retargeting(without_waiting):
    with stages.built_on(CUDA):
        detector = JointDetector(widths=(4, 8, 8, 8, 8), global_blocks=1, heads=2).eval()
        retargeter = Retargeter(features=20, layers=1, heads=2).eval()
        frames = torch.zeros(2, 3, 64, 64, device=CUDA)
        clip = torch.zeros(WINDOW + OVERLAP + 3, len(JOINTS), 2, device=CUDA)  # two windows
    found = detector.detect(frames)
    assert on_cuda(found.place, found.confidence, found.presence)
    moved = retargeter.retarget(found.place, found.confidence, clip, torch.ones_like(clip[..., 0]))
    assert moved.place.shape == clip.shape and on_cuda(moved.place, moved.expected_error)


def test_waiting_and_mixed_devices_are_noticed(without_waiting):
    """What the other tests rely on."""
    number = torch.ones((), device=CUDA)
    with pytest.raises((Waits, RuntimeError)), without_waiting():
        number.item()
    with pytest.raises((Waits, RuntimeError)), without_waiting():
        number.to("cpu")
    with pytest.raises((Waits, RuntimeError)), without_waiting():
        torch.ones(9).to(CUDA)
    with pytest.raises(RuntimeError):
        torch.ones(3, device=CUDA) + torch.ones(3)


@pytest.mark.skipif(not REAL, reason="compares numbers of a CUDA device, which is not here")
def test_cuda_computes_what_the_cpu_does(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    lofnet = build_lofnet(LOFNET).eval()
    results = {}
    mover = stages.make_mover(TINY, lofnet, torch.device("cpu"))
    states = [m.state_dict() for m in (mover.backbone.unet, mover.backbone.vae,
                                       mover.backbone.text_encoder)]  # fmt: skip
    for device in (torch.device("cpu"), CUDA):
        mover = stages.make_mover(TINY, lofnet, device)
        parts = (mover.backbone.unet, mover.backbone.vae, mover.backbone.text_encoder)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
        options = mover.resolve(tuning={"iterations": 2}, generation={"steps": 3})
        warped = mover.method.warp(*stages.make_frames(TINY), adaptation=options.adaptation)
        unet, losses = mover.method.fit(warped, "x", options.tuning)
        latents = mover.method.sample(unet, warped, "x", options.generation)
        results[device.type] = warped.flow.cpu(), torch.tensor(losses), latents.cpu()
    # The steps of Adam amplify rounding.
    for cpu, cuda, share in zip(results["cpu"], results["cuda"], (1e-3, 1e-3, 2e-2), strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=share, atol=share * float(cpu.std()))


@pytest.mark.skipif(REAL, reason="records with a fake; the tests below record on this device")
def test_what_is_recorded_is_on_the_device_alone(fake, make_mover, monkeypatch):
    recorders = fake_recorders(monkeypatch, around=fake.recording)
    mover = make_mover(torch.bfloat16)
    warped = mover.method.warp(*stages.make_frames(TINY))
    options = mover.resolve(
        tuning={"iterations": 3, "plateau": 0.0, "window": 3, "clips_at_once": 1,
                "cuda_graph": True},
        generation={"steps": 3, "cuda_graph": True},
    )  # fmt: skip
    unet, _ = mover.method.fit(warped, "x", options.tuning)
    mover.method.sample(unet, warped, "x", options.generation)
    asked = ["warm up", "warm up", "record", "replay"]
    assert [recorder.asked for recorder in recorders] == 3 * [asked]


@pytest.mark.skipif(not REAL, reason="records CUDA graphs, and no CUDA device is here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_graphs_give_the_same(make_mover, caplog, monkeypatch, dtype):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    mover = make_mover(dtype)
    warped = mover.method.warp(*stages.make_frames(TINY))
    results = []
    for on in (False, True):
        options = mover.resolve(
            tuning={"iterations": 6, "lr": 1e-4, "plateau": 0.0, "cuda_graph": on},
            generation={"steps": 6, "cuda_graph": on},
        )
        unet, losses = mover.method.fit(warped, "x", options.tuning)
        weights = [p.detach().float().flatten() for p in unet.parameters() if p.requires_grad]
        latents = mover.method.sample(unet, warped, "x", options.generation)
        results.append((torch.tensor(losses), torch.cat(weights), latents.float()))
    assert not [r.message for r in caplog.records if r.name == cuda_graph.__name__]
    # The steps of Adam amplify rounding.
    for plain, graph, share in zip(*results, (1e-2, 1e-2, 5e-2), strict=True):
        torch.testing.assert_close(graph, plain, rtol=share, atol=share * float(plain.std()))


@pytest.mark.skipif(not REAL, reason="records CUDA graphs, and no CUDA device is here")
def test_what_cannot_be_recorded_is_launched(make_mover, caplog):
    """A copy to main memory ends a recording, and leaves the device and its memory as they were."""
    made = torch.zeros(3, device=CUDA)

    def work(given: Tensor) -> Tensor:
        made.add_(given)
        if torch.cuda.is_current_stream_capturing():
            given.sum().item()
        return 2 * made

    call = cuda_graph.GraphedCall(work, CUDA, "tuning")
    results = [call(torch.full((3,), float(i), device=CUDA)).tolist() for i in range(5)]
    assert [result[0] for result in results] == [0, 2, 6, 12, 20]
    assert len([r for r in caplog.records if r.name == cuda_graph.__name__]) == 1
    assert torch.cuda.current_stream(CUDA) == torch.cuda.default_stream(CUDA)
