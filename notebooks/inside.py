# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # AnaMoDiff from the inside: every stage by hand
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/anamodiff/anamodiff/blob/main/notebooks/inside.ipynb)
#
# What `anamodiff.transfer` does, step by step, with the package's own functions: joints,
# retargeting, flow, latents, tuning, inversion, noise, sampling, colours. Section numbers are those of
# the paper, *AnaMoDiff: 2D Analogical Motion Diffusion via Disentangled Denoising*. For a first look
# take [quickstart.ipynb](quickstart.ipynb).
#
# *The settings are small, so that all of it takes about half a minute on a CPU:* 8 frames of 128x128
# pixels and 6 iterations of tuning on the embedded backbone, whose usual ones are 10 frames of 256x256
# pixels and 20 iterations. The paper's are 10 frames of 512x512 pixels and 250 iterations on Stable
# Diffusion v1.4.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("anamodiff") is None:  # in Colab, for instance
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "anamodiff[plots]"], check=True
    )

# %% [markdown]
# ## Two clips
#
# A turtle that stands and a rhino that jumps, drawn, so that the truth is known: the same turtle,
# jumping. Frames are tensors `f c h w`, RGB in [-1, 1]; `Clip.of` makes something of them that shows
# itself.

# %%
import matplotlib.pyplot as plt
import torch

from anamodiff import AdaptationOptions, Backbone, Clip, GenerationOptions, TuningOptions, creatures
from anamodiff.video.letterbox import from_pixels
from anamodiff.visual import draw_key_points, draw_skeletons, side_by_side

FRAMES, SEED = 8, 0

pair = creatures.draw_pair(
    470, source_species="turtle", driving_species="rhino", motion="jump", frames=FRAMES
)
source, driving, truth = (
    from_pixels(drawn.frames) for drawn in (pair.source, pair.driving, pair.truth)
)
prompt, fps = pair.source_caption, pair.driving.fps
print(prompt, tuple(source.shape))


def show(**clips):
    """Clips beside each other, under their names."""
    return Clip.of(side_by_side(list(clips.items())), fps)


show(source=source, driving=driving, truth=truth)

# %% [markdown]
# ## Joints
#
# A network finds 22 named joints on every frame of either clip, with a confidence each. Far limbs are
# drawn pale.

# %%
from anamodiff.lofnet import SkeletalNetworks
from anamodiff.resources import find

networks = SkeletalNetworks.load(find("checkpoints/motion"))
found = networks.detect(source), networks.detect(driving)
found[0]

# %%
found[1]

# %% [markdown]
# ## Retargeting
#
# The joints that the *source's* character has when it moves as the driving one does. A rhino is
# taller than a turtle, so they are not simply the rhino's.

# %%
own, other = found
retargeted = networks.retargeter.retarget(own.place, own.trust(), other.place, other.trust())
retargeted

# %% [markdown]
# ## Flow (section 3.2)
#
# A second network says for each place of the target pose where in the source frame it comes from: a
# backward flow `f h w 2`, (x, y) in [-1, 1]. It says, too, what the source frame does not show.

# %%
from anamodiff.lofnet import skeletal_motion

motion = skeletal_motion(
    networks,
    source,
    found,
    AdaptationOptions(),
    frames=torch.arange(FRAMES),
    size=source.shape[-2:],
)
motion

# %%
from anamodiff.warp import foldover, warp

moved = warp(source[motion.frames], motion.flow)
print(f"{float(foldover(motion.flow).mean()):.1%} of the flow's cells are folded over")
show(source=source, joints=draw_skeletons(moved, motion.poses.target), warped=moved, truth=truth)

# %% [markdown]
# ### The paper's own way: key points
#
# Where there is no skeleton (letters, flags), and in the paper always, unsupervised key points with
# Jacobians carry the motion. They are moved onto the source's shape, scaled by the ratio of the
# convex hulls' areas (section 3.3), and a network blends the affine motions about them into a flow
# for *latents*. These come from the backbone's autoencoder.

# %%
from anamodiff.lofnet import LOFNet, adapt_points

backbone = Backbone.load("mini")
latents = backbone.encode(source)  # Z_S
print("latents", tuple(latents.shape))

lofnet = LOFNet.load(find("checkpoints/mini") / "lofnet")
with torch.no_grad():
    own_points, driving_points = lofnet.points(source[:1]), lofnet.points(driving)
    adapted = adapt_points(driving_points, driving_points[0], own_points)
    by_points = lofnet.flow(latents[:1], adapted, own_points)
by_points

# %%
show(
    driving=draw_key_points(driving, driving_points.value, driving_points.jacobian),
    adapted=draw_key_points(source[:1], adapted.value, adapted.jacobian),
    by_points=backbone.decode(warp(latents[:1], by_points.flow)),
    by_skeletons=moved,
)

# %% [markdown]
# ## The warped intermediate
#
# `animate` does all of this. It gives `Z_WI`, the warped clip's latents, and what it was made from.

# %%
from anamodiff.lofnet import animate

warped = animate(
    lofnet, source, latents, driving,
    adaptation=AdaptationOptions(), networks=networks, encode=backbone.encode,
)  # fmt: skip
warped

# %% [markdown]
# ## Tuning (section 3.4)
#
# The UNet is inflated: its attention sees other frames, a temporal attention is added, and LoRA makes
# it trainable. It is tuned on two clips at once. `D_S`, on the source, at any noise level teaches what
# the character looks like; `D_W`, on the warped clip, at high noise levels only teaches how it moves,
# so that the warp's artifacts are not learnt.
#
# Few iterations show no trend: each has a noise level of its own, on which its loss depends most.

# %%
import copy

from anamodiff.tuning import tune
from anamodiff.tuning.loss_terms import LossTerms
from anamodiff.unet3d import add_lora, inflate, merge_lora

recommended = backbone.recommended["tuning"]  # small models want other settings than large ones
tuning = TuningOptions(**{**recommended, "iterations": 6})
unet = inflate(copy.deepcopy(backbone.unet)).to(backbone.precision.tuning)
add_lora(unet, layers=tuning.lora, generator=torch.Generator().manual_seed(SEED))

embedding = backbone.embed([prompt])
terms = LossTerms()
tune(
    unet, warped.latents, warped.warped, embedding, backbone.schedule, tuning,
    seed=SEED, terms=terms,
)  # fmt: skip

figure, axes = plt.subplots(figsize=(6, 2.5))
axes.plot(terms.source, ".-", label="$D_S$, source")
axes.plot(terms.warped, ".-", label="$D_W$, warped clip")
axes.set(xlabel="iteration", ylabel="loss", yscale="log")
axes.legend()
plt.show()

# %% [markdown]
# ## Inversion (section 3.5)
#
# DDIM steps in reverse lead from a clean latent to the noise that the tuned model would make it from.
# Denoised again, it comes back: here are the source's first frame, its noise, and what is sampled from
# that.

# %%
from anamodiff.inversion import ddim_invert, sample

merge_lora(unet.to(backbone.precision.sampling))
steps = 10
model = {"embedding": embedding, "schedule": backbone.schedule, "steps": steps}
first = latents[:1].movedim(0, 1)[None]  # b c f h w
inverted = ddim_invert(unet, first, **model)
again = sample(unet, inverted, **model)
print(f"standard deviation of the noise: {float(inverted.std()):.2f}")
show(
    source=source[:1],
    noise=torch.nn.functional.interpolate(inverted[0, :3, 0][None] / 3, 128),
    sampled_again=backbone.decode(again[0].movedim(1, 0)),
)

# %% [markdown]
# ## Noise
#
# The inverted noise is warped by the same flow. Bilinear sampling averages neighbours: less variance
# than a diffusion model expects, and so a washed-out result. `preserve` adds exactly what is lost.

# %%
from anamodiff.warp import neighbour_correlation, warp_noise

generator = torch.Generator().manual_seed(SEED)
for mode in ("bilinear", "paper", "preserve", "nearest"):
    noise = warp_noise(inverted[:, :, 0], warped.flow, mode=mode, generator=generator)
    print(
        f"{mode:9} standard deviation {float(noise.std()):.2f}, "
        f"correlation of neighbours {neighbour_correlation(noise):.2f}"
    )

# %% [markdown]
# ## Sampling
#
# All frames are denoised together. Sampling may begin at noise alone, as in the paper, or, as suits
# the small backbone, at the warped clip noised half of the way (`denoise_from`).

# %%
from anamodiff.inversion import starting_latents, warped_noise

generation = GenerationOptions(**backbone.recommended["generation"])
start = backbone.schedule.start(steps, generation.denoise_from)
noise = warped_noise(
    unet, warped.latents, warped.source_frames, warped.flow, generation, embedding=embedding,
    schedule=backbone.schedule, start=start, generator=torch.Generator().manual_seed(SEED),
)  # fmt: skip
noisy, start, known = starting_latents(backbone.schedule, warped.warped, noise, generation)
sampled = sample(unet, noisy, start=start, known=known, **model)
decoded = backbone.decode(sampled[0].movedim(0, 1))
show(warped=backbone.decode(warped.warped), sampled=decoded, truth=truth)

# %% [markdown]
# ## Colours
#
# Last, the character's colours are matched to the source's by their histograms; the ground has no
# say. The embedded backbone's UNet is small and blurs patterns: within the character they come from
# the warped clip (`generation.detail`, not in the paper).

# %%
from anamodiff.inversion import keep_detail, match_histograms

matched = match_histograms(decoded, source)
detailed = backbone.decode(warped.warped)
result = keep_detail(matched, detailed, generation.detail, warped.visible)
show(source=source, before=decoded, matched=matched, result=result, truth=truth)

# %% [markdown]
# ## All at once
#
# [`AnaMoDiff`](../anamodiff/pipeline.py) is the same on one page: `warp`, `fit`, `sample`,
# `decode_result`. `anamodiff.MotionTransfer` adds files and run folders.

# %%
from anamodiff.pipeline import AnaMoDiff

method = AnaMoDiff(backbone, lofnet, skeletal=networks)
warped = method.warp(source, driving, adaptation=AdaptationOptions())
tuned, losses = method.fit(warped, prompt, tuning, seed=SEED)
latents = method.sample(tuned, warped, prompt, generation, seed=SEED)
frames = method.decode_result(latents, warped, generation)

torch.testing.assert_close(frames, result, atol=0.02, rtol=0)  # nothing was left out above
Clip.of(frames, fps)
