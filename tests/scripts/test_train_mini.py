"""Training of the embedded backbone: every stage, resuming, and the exported folder."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

SIZE = 32
LOOK = {"white": 0.5, "plain": 0.3, "recolour": 0.4, "resize": 0.25}
VAE = {
    "size": SIZE, "channels": [8, 8, 8], "latent_channels": 4, "layers": 1, "batch": 2,
    "kl_weight": 1e-5, "square": 4.0, "moved": 0.5, "creatures": 0.5, "look": LOOK, "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    from mini import bank
    from mini.data import Frames

    folder = tmp_path_factory.mktemp("bank")
    bank.write_part(folder, "drawn", list(bank.drawn_samples(np.random.default_rng(0), SIZE, 16)))
    return Frames(folder, SIZE, 16, torch.device("cpu"))


def vae_weights(folder: Path, frames, *steps: int) -> dict:
    from mini.checkpoint import load_state
    from mini.loop import Plan
    from mini.vae import train_vae

    for count in steps:
        plan = Plan(lr=1e-3, steps=10, save_every=2, stop_at=count)
        train_vae(folder, frames, plan=plan, **VAE)
    return load_state(folder / "vae.pt")["vae"]


def test_a_killed_stage_resumes_to_the_same_weights(tmp_path, frames):
    whole = vae_weights(tmp_path / "whole", frames, 4)
    parts = vae_weights(tmp_path / "parts", frames, 2, 4)
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


def test_the_memory_layout_changes_no_more_than_rounding(tmp_path, frames, monkeypatch):
    from mini import precision

    planes = vae_weights(tmp_path / "planes", frames, 2)
    monkeypatch.setattr(
        precision,
        "choose_layout",
        lambda modules, run: precision._arrange(modules, "channels last"),
    )
    last = vae_weights(tmp_path / "last", frames, 2)
    assert any(not tensor.is_contiguous() for tensor in last.values())
    for name, tensor in planes.items():
        torch.testing.assert_close(tensor, last[name], atol=1e-3, rtol=1e-2, msg=name)


def test_parts_that_come_later_are_made_known_by_polling(tmp_path):
    from mini import bank
    from mini.data import Frames

    lot = np.random.default_rng(0)
    bank.write_part(tmp_path, "drawn-0", list(bank.drawn_samples(lot, SIZE, 4)))
    frames = Frames(tmp_path, SIZE, 7, torch.device("cpu"))
    assert len(frames) == 4
    bank.write_part(tmp_path, "drawn-1", list(bank.drawn_samples(lot, SIZE, 4)))
    frames.watch(8, lambda: True)
    assert len(frames) == len(frames.groups) == 7  # no more than there is room for
    chosen = frames.choose(200, 1.0, torch.Generator().manual_seed(0))
    assert set(chosen.tolist()) == set(range(7))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="bank"):
        Frames(tmp_path / "empty", SIZE, 4, torch.device("cpu")).watch(1, lambda: False)


def test_a_fresh_autoencoder_is_a_thumbnail():
    from mini.vae import build_vae

    torch.manual_seed(0)
    vae = build_vae([16, 32, 64], 4, 1, 64)
    x = torch.rand(1, 3, 16, 16).repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    with torch.no_grad():
        latents = vae.encode(x).latent_dist.mode()
        y = vae.decode(latents).sample
    # Group norms set the scale, so only the pattern must be reconstructed.
    assert torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1] > 0.98


def test_normalising_latents_leaves_pictures_as_they_are():
    from mini.vae import build_vae, normalise_latents

    torch.manual_seed(0)
    vae = build_vae([8, 8, 8], 4, 1, SIZE)
    x = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        posterior = vae.encode(x).latent_dist
        before, mean = vae.decode(posterior.mean).sample, posterior.mean
        normalise_latents(vae, torch.tensor([1.0, -2, 0, 3]), torch.tensor([2.0, 0.5, 1, 4]))
        after = vae.encode(x).latent_dist
        torch.testing.assert_close(vae.decode(after.mean).sample, before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(after.mean[:, 0], (mean[:, 0] - 1) / 2)
        torch.testing.assert_close(after.std[:, 1], posterior.std[:, 1] / 0.5)


@pytest.mark.slow
def test_all_stages_give_a_backbone_that_loads(tmp_path):
    from train_mini import run, settings

    from anamodiff.backbone.model import Backbone

    config = settings(
        [
            f"folder='{tmp_path / 'work'}'", f"export.folder='{tmp_path / 'mini'}'", "size=32",
            "device=cpu", "bank.workers=1", "bank.frames=16", "bank.capacity=16",
            "vae.channels=[8,8,8]", "vae.steps=2", "vae.batch=1", "decoder.square=1",
            "model.channels=[16,32]", "model.heads=[1,1]", "model.width=32",
            "model.text_layers=1", "unet.steps=2", "unet.batch=4", "sheet.steps=2",
            "sheet.pictures=2", "sheet.prompts=[a turtle]", "sheet.count=2",
            f"start.folder='{tmp_path / 'mini'}'",
        ]
    )  # fmt: skip
    for stage in ("bank", "vae", "unet", "decoder", "export", "sheet"):
        run(stage, config)
    backbone = Backbone.load(tmp_path / "mini", device="cpu")
    assert (backbone.image_size, backbone.latent_size) == (32, 8)
    assert backbone.embed(["a turtle", "an unheard-of quokka"]).isfinite().all()
    assert (tmp_path / "mini" / "samples.png").is_file()

    more = {**config, "folder": str(tmp_path / "more")}
    more["bank"] = {**config["bank"], "folder": str(tmp_path / "work" / "bank")}
    more["start"] = {"folder": str(tmp_path / "mini"), "latents": "keep"}
    more["export"] = {"folder": str(tmp_path / "again")}
    for stage in ("start", "vae", "unet", "decoder", "export"):
        run(stage, more)
    latents = [Backbone.load(tmp_path / name, device="cpu") for name in ("mini", "again")]
    frame = torch.rand(1, 3, 32, 32) * 2 - 1
    one, other = (backbone.encode(frame) for backbone in latents)
    torch.testing.assert_close(one, other)  # training went on, on the same latents
    with pytest.raises(SystemExit, match="without states"):
        run("start", more)

    clocked = {**more, "folder": str(tmp_path / "clocked"), "reserve": 0}
    clocked["export"] = {"folder": str(tmp_path / "third")}
    clocked["start"] = {"folder": str(tmp_path / "mini"), "latents": "anchor"}
    clocked["seconds"] = time.monotonic() - train_mini_started() + 12
    run("all", clocked)
    third = Backbone.load(tmp_path / "third", device="cpu")
    assert not torch.equal(third.encode(frame), one)
    assert (tmp_path / "third" / "samples.png").is_file()


def train_mini_started() -> float:
    import train_mini

    return train_mini.STARTED


def test_a_deeper_autoencoder_begins_where_the_exported_one_ended(tmp_path, frames):
    from mini import vae
    from mini.checkpoint import load_state
    from mini.loop import Plan

    trained = vae.build_vae([8, 8, 8], 4, 1, SIZE)
    torch.manual_seed(0)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    grown = vae.grow(trained.state_dict(), {**VAE, "layers": 2}, SIZE)
    with torch.no_grad():
        before, after = (v.decode(v.encode(x).latent_dist.mode()).sample for v in (trained, grown))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)
    with pytest.raises(SystemExit, match=r"vae\.layers"):
        vae.grow(grown.state_dict(), VAE, SIZE)

    # Held near the former latents, training moves them less than it does on its own.
    drift = {}
    for anchor in (0.0, 100.0):
        folder = tmp_path / str(anchor)
        trained.save_pretrained(folder / "former")
        fresh = {"optimiser": {}, "step": 0, "spent": 0.0, "decoder_only": False}
        vae.save_state(folder / "vae.pt", vae=trained.state_dict(), settled=True, **fresh)
        vae.train_vae(folder, frames, plan=Plan(lr=1e-3, steps=8), anchor=anchor, **VAE)
        moved = vae.build_vae([8, 8, 8], 4, 1, SIZE)
        moved.load_state_dict(load_state(folder / "vae.pt")["vae"])
        with torch.no_grad():
            latents = [v.encode(x).latent_dist.mean for v in (trained, moved)]
        drift[anchor] = (latents[0] - latents[1]).square().mean()
    assert drift[100.0] < drift[0.0] / 2


def test_captions_are_varied_but_keep_the_animal():
    from mini.text import SHARES, variants

    assert variants("an orange turtle") == ("", "a turtle", "an orange turtle", "orange turtle")
    assert variants("a red elephant")[1] == "an elephant"
    assert variants("orange turtle")[1] == "turtle"
    assert variants("a turtle")[1] == "a turtle"
    assert sum(SHARES) == pytest.approx(1)


def test_a_recoloured_picture_is_never_called_by_its_former_colour():
    from mini.text import Captions, build_tokenizer

    tokenizer = build_tokenizer(["a red pig", "a blue cow"], 16)
    captions = Captions(tokenizer, torch.device("cpu"))
    captions.indices(["a red pig"])
    rows = captions.indices(["a blue cow"] * 400)
    recoloured = torch.arange(400) % 2 == 0
    tokens = captions.draw(rows, recoloured, torch.Generator().manual_seed(0))
    texts = [tokenizer.decode(t, skip_special_tokens=True).strip() for t in tokens]
    assert set(texts[::2]) == {"", "a cow"}
    assert set(texts[1::2]) == {"", "a cow", "a blue cow", "blue cow"}


def test_grounds_are_replaced_and_the_character_stays():
    from mini.data import augment

    from anamodiff.creatures import Character, draw

    look = {"recolour": 0.0, "resize": 0.0}
    character = Character.sample(5, background=(255, 255, 255))
    drawn = draw(character, "walk", frames=4, size=64)
    known = np.concatenate([drawn.frames, drawn.coverage[..., None]], -1)
    generator = torch.Generator().manual_seed(0)
    inside = torch.from_numpy(drawn.coverage == 255)
    there = torch.from_numpy(drawn.frames).permute(0, 3, 1, 2) / 127.5 - 1
    for white, plain in ((1, 0), (0, 1), (0, 0)):
        made = augment(torch.from_numpy(known), generator, white=white, plain=plain, **look)
        for frame, picture, own in zip(there, made.pixels, inside, strict=True):
            mirrored = (picture.flip(-1) - frame)[:, own].abs().max()
            error = min((picture - frame)[:, own].abs().max(), mirrored)
            assert error < 1e-4
        corners = made.pixels[:, :, 0, [0, -1]]
        spread = (made.pixels[:, :, 0].std(-1) > 1e-3).any(1)
        assert spread.all() == (not white and not plain)
        assert bool((corners == 1).all()) == bool(white)


def test_a_drawn_character_covers_what_another_ground_shows():
    from dataclasses import replace

    from anamodiff.creatures import Character, draw

    character = Character.sample(3, background=(255, 255, 255))
    on_white = draw(character, "walk", frames=2, size=64)
    on_blue = draw(replace(character, background=(20, 40, 200)), "walk", frames=2, size=64)
    share = 1 - on_white.coverage[..., None] / 255
    moved = on_white.frames + share * (np.array([20, 40, 200]) - 255)
    assert np.abs(moved - on_blue.frames).max() <= 6  # rounding, once a stroke
    assert 0 < ((on_white.coverage > 0) & (on_white.coverage < 255)).mean() < 0.2


def test_coverage_of_a_clip_on_white_is_soft_at_edges_and_open_between_limbs():
    import cv2
    from mini.bank import coverage

    large = np.full((512, 512, 3), 255, np.uint8)
    cv2.circle(large, (256, 256), 160, (180, 30, 20), 40, cv2.LINE_AA)
    frame = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    cover = coverage(frame)
    assert cover[0, 0] == 0 and cover[32, 32] == 0  # outside, and inside of the ring
    assert cover[32, 12] == 255
    on_black = frame + (1 - cover[..., None] / 255) * (0 - 255.0)
    truth = np.zeros_like(large)
    cv2.circle(truth, (256, 256), 160, (180, 30, 20), 40, cv2.LINE_AA)
    truth = cv2.resize(truth, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(on_black.clip(0) - truth).mean() < 2.5


def test_clips_are_read_without_pyav(tmp_path, monkeypatch):
    import imageio.v3 as iio
    from mini import bank

    rng = np.random.default_rng(0)
    frames = cv_friendly(rng.integers(0, 255, (5, 8, 12, 3), dtype=np.uint8))
    iio.imwrite(tmp_path / "clip.gif", frames, duration=100)
    read = bank.read_video(tmp_path / "clip.gif", 48)
    assert len(read) == 5 and read[0].shape == (48, 48, 3)
    assert (read[0][0] > 250).all()  # wide: white above
    with pytest.raises(OSError, match="no frames"):
        bank.read_video(tmp_path / "none.mp4", 48)


def cv_friendly(small: np.ndarray) -> np.ndarray:
    return small.repeat(4, 1).repeat(4, 2)


def test_the_rate_follows_steps_or_time_whichever_is_ahead():
    from mini.loop import Clock, Plan

    clock = Clock(Plan(lr=1.0, steps=100, warmup=1), step=50)
    assert clock.rate == pytest.approx(0.505, abs=0.01)
    clock = Clock(Plan(lr=1.0, seconds=100, warmup=1), step=5, spent=99.0)
    assert clock.rate < 0.02
    assert list(Clock(Plan(lr=1.0, seconds=10), spent=11.0).steps()) == []
    with pytest.raises(SystemExit, match="steps or seconds"):
        Clock(Plan(lr=1.0))


def test_a_loss_that_is_no_number_ends_training_and_saves_nothing():
    from mini.loop import Clock, Plan, train
    from mini.optimiser import new_optimiser

    layer = torch.nn.Linear(2, 2)
    saved = []

    def loss(step, generator):
        value = layer(torch.ones(1, 2)).sum() * float("nan")
        return value, value.detach()

    sound = train(
        "x", Clock(Plan(lr=1e-3, steps=3, save_every=1)), new_optimiser([layer], 1e-3),
        torch.Generator(), 0, loss=loss, after=lambda: None, save=lambda: saved.append(1),
        report=str,
    )  # fmt: skip
    assert not sound and not saved


def test_noise_is_high_more_often_than_low():
    from mini.unet import noisy_timesteps

    t = noisy_timesteps(4000, torch.Generator().manual_seed(0))
    low, high = (t < 250).float().mean(), (t >= 750).float().mean()
    assert t.min() >= 0 and t.max() <= 999
    assert low == pytest.approx(0.156, abs=0.01) and high == pytest.approx(0.344, abs=0.01)


def test_weights_cast_in_the_graph_get_gradients_of_their_own_precision():
    from mini import precision

    layer = torch.nn.Linear(4, 4)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    out = precision.call(layer, torch.bfloat16, x.bfloat16())
    assert out.dtype == torch.bfloat16 and layer.weight.dtype == torch.float32
    out.float().sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(4, 4), atol=0.05, rtol=0.05)


def test_exported_weights_are_contiguous_whatever_layout_they_were_trained_in(tmp_path):
    from mini.export import export_vae
    from mini.vae import build_vae

    vae = build_vae([8, 8, 8], 4, 1, SIZE).to(memory_format=torch.channels_last)
    export_vae(vae, tmp_path)
    assert (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").is_file()
