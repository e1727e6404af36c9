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
# # AnaMoDiff: the first five minutes
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/anamodiff/anamodiff/blob/main/notebooks/quickstart.ipynb)
#
# Give it a clip (or one picture) of a character and a clip of another character moving: you get
# back your character performing that motion. Run the cells from top to bottom. A CPU is enough, and
# nothing is downloaded: a small diffusion model of animals comes with the package.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("anamodiff") is None:  # in Colab, for instance
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "anamodiff"], check=True)

# %% [markdown]
# ## Clips to play with
#
# A few drawn characters, written into a folder. Clips show themselves as videos.

# %%
import anamodiff

examples = anamodiff.write_examples("examples")
print(*examples.lines, sep="\n")

# %%
source, driving = examples.folder / "turtle.gif", examples.folder / "rhino-jumps.gif"
anamodiff.read_clip(source)

# %%
anamodiff.read_clip(driving)

# %% [markdown]
# ## A preview
#
# Load the models once; `size=128` is for haste, without it the model works at its usual 256x256 pixels.
# The first look takes seconds: the joints that are found in both clips, and the source warped along the
# motion of the driving clip. If this looks wrong, a transfer will, too.

# %%
mover = anamodiff.MotionTransfer.load("mini", size=128)
anamodiff.preview(mover, source, driving, frames=8)

# %% [markdown]
# ## A transfer
#
# The model is tuned on your pair of clips, then it samples the result. The prompt says in a few words
# what the source shows.
#
# *The settings here are small, so that this takes seconds on a CPU:* 128x128 pixels rather than 256x256,
# 8 frames rather than 10, and 10 iterations of tuning rather than 20. Leave `size` and `tuning` out for
# the usual quality.

# %%
small = {"frames": 8, "tuning": {"iterations": 10}}
result = mover.transfer(source, driving, prompt="a turtle", **small)
result

# %% [markdown]
# ## A closer look
#
# Every transfer has a run folder: videos, frames, all settings and figures, and `report.html`, a page
# that opens anywhere. Source, driving clip, warped clip and result side by side:

# %%
anamodiff.read_clip(result.run / "comparison.mp4", frames=8)

# %%
print(*sorted(path.name for path in result.run.glob("[!.]*")))
print(result.timings)

# %% [markdown]
# ## Your own clips
#
# Name your files here: films, gifs, folders of frames, or one picture as source. In Colab, put them
# into the file list at the left first. One character on a plain ground works best; other grounds are
# cut out.

# %%
my_source = "examples/fox.png"  # your character
my_driving = "examples/horse-gallops.gif"  # the motion
my_prompt = "a fox"  # what the source shows

anamodiff.preview(mover, my_source, my_driving, frames=8)

# %%
mine = mover.transfer(my_source, my_driving, prompt=my_prompt, seed=1, **small)
mine

# %% [markdown]
# ## Save it
#
# As `mp4`, `gif`, `webm` and more, by the suffix; `mine.frames` are the frames as a tensor
# `f c h w` in [-1, 1].

# %%
mine.save("fox.gif"), mine.save("fox.mp4")

# %% [markdown]
# ## From here
#
# - Every stage by hand: [inside.ipynb](inside.ipynb).
# - The same from a shell: `anamodiff transfer --source turtle.gif --driving rhino.gif --prompt "a turtle"`;
#   `anamodiff --help` lists the other commands.
# - With an NVIDIA GPU, `MotionTransfer.load("CompVis/stable-diffusion-v1-4")` takes the paper's
#   backbone, at 512x512 pixels.
