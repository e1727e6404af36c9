"""Training of the embedded backbone: every stage, resuming, and the exported folder."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

SIZE = 32
VAE = {
    "size": SIZE, "channels": [8, 8, 8], "latent_channels": 4, "layers": 1, "batch": 4, "crop": 16,
    "lr": 1e-3, "kl_weight": 1e-5, "square": 4.0, "moved": 0.5, "creatures": 0.5, "seed": 0,
}  # fmt: skip


def vae_weights(folder: Path, *steps: int) -> dict:
    from mini.checkpoint import load_state
    from mini.vae import train_vae

    for count in steps:
        train_vae(folder, None, steps=10, save_every=2, stop_at=count, **VAE)
    return load_state(folder / "vae.pt")["vae"]


def test_a_killed_stage_resumes_to_the_same_weights(tmp_path):
    whole = vae_weights(tmp_path / "whole", 4)
    parts = vae_weights(tmp_path / "parts", 2, 4)
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


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
            "vae.channels=[8,8,8]", "vae.steps=2", "vae.batch=4", "vae.crop=16",
            "decoder.steps=2", "latents.creatures=12", "unet.channels=[16,32]",
            "unet.heads=[1,1]", "unet.width=32", "unet.text_layers=1", "unet.steps=2",
            "unet.batch=4", "sheet.steps=2", "sheet.pictures=2", "sheet.prompts=[a turtle]",
        ]
    )  # fmt: skip
    for stage in ("vae", "latents", "unet", "decoder", "export", "sheet"):
        run(stage, config)
    backbone = Backbone.load(tmp_path / "mini", device="cpu")
    assert (backbone.image_size, backbone.latent_size) == (32, 8)
    assert backbone.embed(["a turtle", "an unheard-of quokka"]).isfinite().all()
    assert (tmp_path / "mini" / "samples.png").is_file()

    more = {**config, "folder": str(tmp_path / "more")}
    more["start"] = {"folder": str(tmp_path / "mini"), "latents": "keep"}
    more["export"] = {"folder": str(tmp_path / "again")}
    for stage in ("start", "vae", "latents", "unet", "decoder", "export"):
        run(stage, more)
    latents = [Backbone.load(tmp_path / name, device="cpu") for name in ("mini", "again")]
    frame = torch.rand(1, 3, 32, 32) * 2 - 1
    one, other = (backbone.encode(frame) for backbone in latents)
    torch.testing.assert_close(one, other)  # training went on, on the same latents
    with pytest.raises(SystemExit, match="without states"):
        run("start", more)


def test_a_deeper_autoencoder_begins_where_the_exported_one_ended(tmp_path):
    from mini import vae
    from mini.checkpoint import load_state

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
        fresh = {"optimiser": {}, "step": 0, "decoder_only": False}
        vae.save_state(folder / "vae.pt", vae=trained.state_dict(), settled=True, **fresh)
        vae.train_vae(folder, None, steps=8, anchor=anchor, **VAE)
        moved = vae.build_vae([8, 8, 8], 4, 1, SIZE)
        moved.load_state_dict(load_state(folder / "vae.pt")["vae"])
        with torch.no_grad():
            latents = [v.encode(x).latent_dist.mean for v in (trained, moved)]
        drift[anchor] = (latents[0] - latents[1]).square().mean()
    assert drift[100.0] < drift[0.0] / 2


def test_captions_are_varied_but_keep_the_animal():
    import numpy as np
    from mini.text import vary

    rng = np.random.default_rng(0)
    found = {vary("an orange turtle", rng) for _ in range(300)}
    assert found == {"", "an orange turtle", "a turtle", "orange turtle"}
