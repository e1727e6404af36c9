"""The tuning loop: the loss falls, resumed runs are identical, errors are one line."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel
from fake_graph import FakeRecorder, fake_recorders

from anamodiff import cuda_graph
from anamodiff.diffusion import Schedule, generator_of
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import TuningOptions
from anamodiff.tuning import iteration, plateau
from anamodiff.tuning.loop import tune
from anamodiff.tuning.loss_terms import LossTerms
from anamodiff.tuning.optimiser import MasterWeights
from anamodiff.unet3d.lora import add_lora, trainable_parameters
from anamodiff.unet3d.model import UNet3D, inflate

SCHEDULE = Schedule.from_config({})


def make_unet(folder, dtype: torch.dtype = torch.float32) -> UNet3D:
    unet = inflate(UNet2DConditionModel.from_pretrained(folder, subfolder="unet").to(dtype))
    add_lora(unet, rank=4)
    return unet


def run(
    folder, iterations: int, checkpoint=None, dtype: torch.dtype = torch.float32, **options
) -> tuple[list[float], list]:
    unet = make_unet(folder, dtype)
    generator = torch.Generator().manual_seed(5)
    source, warped = torch.randn(2, 3, 4, 16, 16, generator=generator)
    embedding = torch.randn(1, 8, 16, generator=generator)
    settings = TuningOptions(iterations=iterations, checkpoint_every=2, lr=1e-3, **options)
    losses = tune(
        unet, source, warped, embedding, SCHEDULE, settings, seed=3, checkpoint=checkpoint
    )
    return losses, [p.detach().clone() for _, p in trainable_parameters(unet)]


def test_resuming_gives_the_same_weights(tiny_backbone_folder, tmp_path):
    losses, weights = run(tiny_backbone_folder, 6)
    run(tiny_backbone_folder, 4, tmp_path / "state.pt")
    resumed, again = run(tiny_backbone_folder, 6, tmp_path / "state.pt")
    assert resumed == losses
    for one, other in zip(weights, again, strict=True):
        assert torch.equal(one, other)


def test_memory_is_saved_without_another_result(tiny_backbone_folder):
    losses, weights = run(tiny_backbone_folder, 4)
    for saving in ({"clips_at_once": 1}, {"checkpoint_levels": "all", "clips_at_once": 1}):
        saved, again = run(tiny_backbone_folder, 4, **saving)
        torch.testing.assert_close(saved, losses, rtol=1e-4, atol=1e-5)
        for one, other in zip(weights, again, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-4)
    assert losses[0] != losses[-1]


def test_an_iteration_is_on_a_window_of_each_clip(tiny_backbone_folder):
    shapes: list[tuple[int, int]] = []
    unet = make_unet(tiny_backbone_folder)
    unet.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape[:3:2])))
    source, warped = torch.zeros(2, 4, 16, 16), torch.zeros(7, 4, 16, 16)
    for clip in (source, warped):
        options = TuningOptions(iterations=1, window=3)
        tune(unet, clip, warped, torch.zeros(1, 8, 16), SCHEDULE, options, seed=0)
    assert shapes == [(1, 2), (1, 3), (2, 3)], "a short source is alone, equal windows are a batch"


def test_short_clips_are_tuned_as_without_windows(tiny_backbone_folder):
    assert run(tiny_backbone_folder, 2, window=3)[0] == run(tiny_backbone_folder, 2, window=99)[0]
    assert run(tiny_backbone_folder, 2, window=2)[0] != run(tiny_backbone_folder, 2, window=3)[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_moves_single_precision_weights(tiny_backbone_folder, tmp_path, dtype):
    start = [p.detach().float() for _, p in trainable_parameters(make_unet(tiny_backbone_folder))]
    _, whole = run(tiny_backbone_folder, 6)
    losses, weights = run(tiny_backbone_folder, 6, dtype=dtype)
    assert {weight.dtype for weight in weights} == {torch.float32}
    moved = [torch.cat([(w - s).flatten() for w, s in zip(many, start, strict=True)])
             for many in (whole, weights)]  # fmt: skip
    # Steps of 1e-3 are below bf16's resolution near one: copies in bf16 would stay in place.
    assert torch.cosine_similarity(*moved, dim=0) > 0.8
    run(tiny_backbone_folder, 4, tmp_path / "state.pt", dtype=dtype)
    resumed, again = run(tiny_backbone_folder, 6, tmp_path / "state.pt", dtype=dtype)
    assert resumed == losses
    assert all(torch.equal(one, other) for one, other in zip(weights, again, strict=True))


def test_everything_is_computed_in_the_unet_s_precision(tiny_backbone_folder):
    unet = make_unet(tiny_backbone_folder, torch.bfloat16)
    MasterWeights(unet, 1e-3).write_back()
    assert {p.dtype for _, p in trainable_parameters(unet)} == {torch.float32}
    weights = MasterWeights(unet, 1e-3)
    assert {p.dtype for p in unet.parameters()} == {torch.bfloat16}
    assert {moved.dtype for _, moved in weights.masters} == {torch.float32}


def test_gradients_in_fp16_do_not_vanish(tiny_backbone_folder):
    shares = []
    for dtype in (torch.float32, torch.float16):
        weights = MasterWeights(make_unet(tiny_backbone_folder, dtype), 1e-3)
        (_, one), *_ = weights.parameters
        before = weights.masters[0][1].detach().clone()
        # As small as the gradient of a mean over a clip's latents.
        weights.backward((one.float() * 1e-8).sum())
        weights.step()
        shares.append((weights.masters[0][1] - before).mean().item())
    assert shares[1] == pytest.approx(shares[0], rel=0.01)


def test_only_what_is_trained_has_an_optimiser_state(tiny_backbone_folder):
    unet = inflate(UNet2DConditionModel.from_pretrained(tiny_backbone_folder, subfolder="unet"))
    add_lora(unet, rank=4, blocks="mid_up")
    trained = dict(trainable_parameters(unet))
    weights = MasterWeights(unet, 1e-3)
    weights.backward(sum(p.square().sum() for p in trained.values()))
    weights.step()
    states = weights.optimiser.state_dict()["state"]
    assert len(states) == len(trained) < len(list(unet.parameters()))


@pytest.mark.parametrize(
    ("gains", "flat"),
    [
        ([0.3, 0.3], False),
        ([0.3, 0.02], False),
        ([0.3, 0.02, 0.02], True),
        ([0.3, -0.2, -0.1], True),
        ([0.3, -0.1, 0.4], False),
        ([0.0, 0.0], True),
    ],
)
def test_two_probes_without_a_gain_are_a_plateau(gains, flat):
    probes = [0.0]
    for gain in gains:
        probes.append(probes[-1] - gain)
    assert plateau.has_plateaued(probes, 0.05) is flat


@pytest.mark.slow
def test_a_plateau_ends_tuning_between_floor_and_ceiling(tiny_backbone_folder, tmp_path):
    """Also after a resumption, and with the weights of a run with so many iterations."""
    options = {"plateau": 0.9, "iterations_min": 5}  # nothing gains that much
    losses, weights = run(tiny_backbone_folder, 60, **options)
    assert len(losses) == 20  # three probes: before the first iteration, after 10 and 20
    known, expected = run(tiny_backbone_folder, 20)
    assert losses == known
    assert all(torch.equal(one, other) for one, other in zip(weights, expected, strict=True))
    assert len(run(tiny_backbone_folder, 12, **options)[0]) == 12
    assert len(run(tiny_backbone_folder, 60, **{**options, "iterations_min": 21})[0]) == 30
    run(tiny_backbone_folder, 14, tmp_path / "state.pt", **options)
    assert run(tiny_backbone_folder, 60, tmp_path / "state.pt", **options)[0] == losses


def test_probes_weigh_high_and_low_noise_alike(tiny_backbone_folder):
    """Halving the error of any one term lowers the probe as much, be it large or small."""
    unet, text = make_unet(tiny_backbone_folder), torch.zeros(1, 8, 16)
    clip = plateau.NoisyClip(torch.randn(3, 4, 16, 16), 0, 1000)
    timesteps = []

    def recorded_loss(unet, source, warped, *_, **__):
        timesteps.append(source.first)
        return loss_of(torch.tensor(10.0 ** -len(timesteps)))

    def loss_of(error):
        return type("Loss", (), {"source": error, "warped": None})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plateau, "disentangled_loss", recorded_loss)
        value = plateau.probe_loss(unet, clip, None, text, SCHEDULE, seed=0, window=10)
    assert timesteps == [166, 500, 833]
    assert value == pytest.approx(-2 * torch.tensor(10.0).log().item())
    probes = [
        plateau.probe_loss(unet, clip, clip, text, SCHEDULE, seed=seed, window=window)
        for seed, window in ((0, 10), (0, 10), (1, 10), (0, 2))
    ]
    assert probes[0] == probes[1]
    assert len(set(probes)) == 3


def test_another_seed_gives_other_noise(tiny_backbone_folder):
    assert run(tiny_backbone_folder, 2)[0] == run(tiny_backbone_folder, 2)[0]
    assert run(tiny_backbone_folder, 2, noise_min=0)[0] != run(tiny_backbone_folder, 2)[0]


def test_a_checkpoint_of_other_weights_is_refused(tiny_backbone_folder, tmp_path):
    run(tiny_backbone_folder, 2, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["weights"].popitem()
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(AnaMoDiffError, match="another's"):
        run(tiny_backbone_folder, 4, tmp_path / "state.pt")


def test_a_loss_that_is_no_number_stops_with_a_cure(tiny_backbone_folder):
    unet = make_unet(tiny_backbone_folder)
    nan = torch.full((3, 4, 16, 16), float("nan"))
    with pytest.raises(AnaMoDiffError, match="not a number.*tuning.lr"):
        tune(unet, nan, nan, torch.zeros(1, 8, 16), SCHEDULE, TuningOptions(iterations=1), seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": -1},
        {"iterations_min": 0},
        {"plateau": 1.0},
        {"lr": 0.0},
        {"noise_min": 1000},
        {"source_noise_min": -1},
        {"rank": 0},
        {"lora": "some"},
        {"lora_blocks": "down"},
        {"checkpoint_levels": "bottom"},
        {"clips_at_once": 3},
        {"window": 1},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(AnaMoDiffError, match=next(iter(wrong))):
        TuningOptions(**wrong)


def test_a_run_tuned_in_another_precision_is_refused(tiny_backbone_folder, tmp_path):
    half, single = tmp_path / "half.pt", tmp_path / "single.pt"
    run(tiny_backbone_folder, 2, half, dtype=torch.float16)
    run(tiny_backbone_folder, 2, single)
    with pytest.raises(AnaMoDiffError, match="tuned in fp16, .* got one tuned in another prec"):
        run(tiny_backbone_folder, 4, single, dtype=torch.float16)
    with pytest.raises(AnaMoDiffError, match="tuned in another precision, .* got one tuned in fp1"):
        run(tiny_backbone_folder, 4, half)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_temporal_attention_has_a_rate_of_its_own(tiny_backbone_folder, ratio):
    """Adam's first step is as long as the rate, in every direction that has a gradient."""
    unet = make_unet(tiny_backbone_folder)
    before = {name: p.detach().clone() for name, p in trainable_parameters(unet)}
    weights = MasterWeights(unet, 1e-3, ratio)
    for name, parameter in weights.parameters:
        parameter.grad = torch.ones_like(parameter)
        assert name in before
    weights.step()
    steps = {name: float((p - before[name]).detach().abs().max()) for name, p in weights.parameters}
    for name, step in steps.items():
        assert step == pytest.approx(1e-3 * (ratio if "_temp." in name else 1), rel=1e-3)
    assert any("attn_temp" in name for name in steps) and any("lora" in name for name in steps)


def test_the_loop_gives_temporal_attention_its_rate(tiny_backbone_folder):
    start = dict(trainable_parameters(make_unet(tiny_backbone_folder)))
    names = list(start)
    _, frozen = run(tiny_backbone_folder, 2, temporal_lr=0.0)
    _, moved = run(tiny_backbone_folder, 2)
    temporal = [i for i, name in enumerate(names) if "_temp." in name]
    assert all(torch.equal(frozen[i], start[names[i]]) for i in temporal)
    assert any(not torch.equal(moved[i], start[names[i]]) for i in temporal)


def test_seeds_may_be_as_large_as_they_like(tiny_backbone_folder):
    unet = make_unet(tiny_backbone_folder)
    clip, embedding = torch.zeros(2, 4, 16, 16), torch.zeros(1, 8, 16)
    losses = []
    for seed in (0, 2 * 10**13, 2**64 - 1, 2**70 + 3):
        options = TuningOptions(iterations=1, plateau=0.1)
        losses += tune(unet, clip, clip, embedding, SCHEDULE, options, seed=seed)
    assert len(set(losses)) == 4
    small = generator_of(5).get_state()
    assert torch.equal(small, torch.Generator().manual_seed(5).get_state())
    assert torch.equal(small, generator_of(5 + 2**64).get_state())


def test_both_terms_of_the_loss_are_kept_over_a_resumption(tiny_backbone_folder, tmp_path):
    source, warped = torch.randn(2, 3, 4, 16, 16, generator=generator_of(5))
    embedding = torch.randn(1, 8, 16, generator=generator_of(6))
    checkpoint = tmp_path / "state.pt"

    def terms_of(iterations: int, checkpoint=None, **options) -> tuple[LossTerms, list[float]]:
        settings = TuningOptions(iterations=iterations, checkpoint_every=2, lr=1e-3, **options)
        terms = LossTerms()
        terms.add(9.0, 9.0)  # of an earlier try
        losses = tune(
            make_unet(tiny_backbone_folder), source, warped, embedding, SCHEDULE, settings, seed=3,
            terms=terms, checkpoint=checkpoint,
        )  # fmt: skip
        return terms, losses

    whole, losses = terms_of(6, warped_weight=0.5)
    for total, own, moved in zip(losses, whole.source, whole.warped, strict=True):
        assert total == pytest.approx(own + 0.5 * moved, rel=1e-5)
    terms_of(4, checkpoint, warped_weight=0.5)
    assert terms_of(6, checkpoint, warped_weight=0.5)[0] == whole
    state = torch.load(checkpoint)
    del state["terms"]  # a checkpoint of before they were kept
    state["losses"] = state["losses"][:4]
    torch.save(state, checkpoint)
    old, _ = terms_of(6, checkpoint, warped_weight=0.5)
    assert old.source[:4] == [None] * 4 and len(old.source) == len(old.warped) == 6
    alone, _ = terms_of(2, warped_weight=0.0)
    assert alone.warped == [None, None] and None not in alone.source


@pytest.fixture
def recorders(monkeypatch) -> list[FakeRecorder]:
    """Of the iterations of tuning, which are recorded as if this were a CUDA device."""
    monkeypatch.setattr(iteration, "wants_graph", lambda *_: True)
    return fake_recorders(monkeypatch)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (torch.bfloat16, {}),
        (torch.bfloat16, {"clips_at_once": 1, "window": 2}),
        (torch.float32, {"checkpoint_levels": "all"}),
        (torch.float32, {"warped_weight": 0.0}),
    ],
)
def test_recorded_iterations_give_the_same(
    tiny_backbone_folder, monkeypatch, recorders, tmp_path, dtype, options
):
    with monkeypatch.context() as patch:
        patch.setattr(iteration, "wants_graph", lambda *_: False)
        losses, weights = run(tiny_backbone_folder, 7, dtype=dtype, **options)
    assert not recorders
    state = tmp_path / "state.pt"
    again, same = run(tiny_backbone_folder, 5, state, dtype=dtype, **options)
    assert recorders[0].asked == ["warm up"] * 2 + ["record"] + ["replay"] * 3
    assert again == losses[:5]
    again, same = run(tiny_backbone_folder, 7, state, dtype=dtype, **options)
    assert again == losses and len(set(losses)) == 7
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))


def test_a_short_picture_and_a_clip_are_recorded_together(tiny_backbone_folder, recorders):
    def tuned() -> tuple[list[float], list]:
        unet = make_unet(tiny_backbone_folder)
        clips = torch.randn(9, 4, 16, 16, generator=torch.Generator().manual_seed(1)).split([1, 8])
        options = TuningOptions(iterations=5, window=3, plateau=0.01, unseen_weight=0.5)
        unseen = torch.zeros(8, 16, 16, dtype=torch.bool)
        unseen[3:, :5] = True
        losses = tune(
            unet, *clips, torch.ones(1, 8, 16), SCHEDULE, options, seed=0, unseen=unseen
        )  # fmt: skip
        return losses, [p.detach() for _, p in trainable_parameters(unet)]

    recorded, weights = tuned()
    assert recorders[0].asked[-1] == "replay"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iteration, "wants_graph", lambda *_: False)
        losses, plain = tuned()
    assert len(recorders) == 1 and losses == recorded
    assert all(torch.equal(one, other) for one, other in zip(weights, plain, strict=True))


def test_iterations_that_cannot_be_recorded_give_the_same(
    tiny_backbone_folder, monkeypatch, caplog
):
    losses, weights = run(tiny_backbone_folder, 5)
    unets: list[UNet3D] = []
    build = make_unet
    monkeypatch.setitem(
        globals(), "make_unet", lambda *given: unets.append(build(*given)) or unets[-1]
    )

    def leave_gradients() -> None:
        for _, parameter in trainable_parameters(unets[-1]):
            parameter.grad = torch.ones_like(parameter)

    monkeypatch.setattr(iteration, "wants_graph", lambda *_: True)
    fake_recorders(monkeypatch, fail=leave_gradients)
    again, same = run(tiny_backbone_folder, 5)
    assert again == losses
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))
    (line,) = (record.message for record in caplog.records if record.name == cuda_graph.__name__)
    assert line.startswith("tuning: no CUDA graph") and line.endswith("(CUDA out of memory.)")


def test_iterations_on_cuda_are_recorded_unless_told_otherwise():
    def wanted(left: int = 20, device: str = "cuda", dtype=torch.bfloat16, **options) -> bool:
        unet = SimpleNamespace(device=torch.device(device), dtype=dtype)
        return iteration.wants_graph(unet, TuningOptions(**options), left)

    assert wanted() and wanted(dtype=torch.float32) and wanted(left=2, cuda_graph=True)
    assert not wanted(left=19) and not wanted(cuda_graph=False) and not wanted(device="cpu")
    assert not wanted(dtype=torch.float16, cuda_graph=True), "the host follows its scale"
    assert not wanted(checkpoint_levels="top")
    assert wanted(checkpoint_levels="top", cuda_graph=True)


def test_a_checkpoint_of_another_device_goes_on(tiny_backbone_folder, tmp_path):
    """Its Adam counted elsewhere, of another kind, or recorded by a graph."""
    state = tmp_path / "state.pt"
    losses, _ = run(tiny_backbone_folder, 6)
    run(tiny_backbone_folder, 4, state)
    content = torch.load(state, weights_only=True)
    for group in content["optimiser"]["param_groups"]:
        group |= {"fused": None, "foreach": True, "capturable": True}
    torch.save(content, state)
    weights = MasterWeights(make_unet(tiny_backbone_folder), 1e-3)
    own = [dict(group) for group in weights.optimiser.param_groups]
    weights.resume(state)
    for group, before in zip(weights.optimiser.param_groups, own, strict=True):
        assert {name: group[name] for name in ("fused", "foreach", "capturable")} == {
            name: before[name] for name in ("fused", "foreach", "capturable")
        }
    resumed, _ = run(tiny_backbone_folder, 6, state)
    assert resumed == losses
