"""Clips beside each other that one slider in time moves, as HTML: strips of pictures, in step."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from torch import Tensor

from anamodiff.app.job import Progress
from anamodiff.visual.charts import data_uri, film_strip

SIDE = 256  # of a picture, in pixels
_WIDEST = 60_000  # pixels of a JPEG's side; the format ends at 65,535
_QUALITY = 85

CSS = """
.am-films { display: grid; gap: 12px;
  grid-template-columns:
    repeat(auto-fill, minmax(max(120px, calc(100% / var(--columns) - 12px)), 1fr)); }
.am-films figure { margin: 0; min-width: 0; }
.am-film { overflow: hidden; border-radius: 6px; background: #fff;
  border: 1px solid var(--border-color-primary); }
.am-film img { display: block; height: 100%; max-width: none !important; margin: 0 !important;
  border-radius: 0; width: calc(100% * var(--frames));
  transform: translateX(calc(-100% * var(--at) / var(--frames))); }
.am-films figcaption { font-size: 13px; line-height: 1.3; padding-top: 4px;
  color: var(--body-text-color); }
.am-time { display: flex; align-items: center; gap: 12px; margin-top: 10px; }
.am-time input { flex: 1; min-width: 0; accent-color: var(--color-accent); height: 28px; }
.am-time button { min-width: 68px; height: 34px; border-radius: 6px; cursor: pointer;
  font-size: 14px; font-weight: 500;
  border: 1px solid var(--border-color-primary);
  background: var(--button-secondary-background-fill);
  color: var(--button-secondary-text-color); }
.am-time button:focus-visible, .am-time input:focus-visible {
  outline: 2px solid var(--color-accent); outline-offset: 2px; }
.am-time output { font-variant-numeric: tabular-nums; min-width: 7.5em; text-align: right;
  font-size: 13px; color: var(--body-text-color); }
.am-note { color: var(--body-text-color); margin: 4px 0; }
.am-note.am-quiet { color: var(--body-text-color-subdued); }
.am-warnings { margin: 10px 0 0; padding-left: 1.2em; color: var(--body-text-color); }
.am-status progress { appearance: none; width: 100%; height: 10px; border: 0; border-radius: 5px;
  background: var(--border-color-primary); overflow: hidden; }
.am-status progress::-webkit-progress-bar { background: var(--border-color-primary); }
.am-status progress::-webkit-progress-value { background: var(--color-accent); }
.am-status progress::-moz-progress-bar { background: var(--color-accent); }
"""

# `element` is the component's own, and stays while its contents are replaced.
JAVASCRIPT = """
let at = 0, playing = !matchMedia('(prefers-reduced-motion: reduce)').matches, last = 0;
const find = (what) => element.querySelector(what);
const show = (frame) => {
  const range = find('.am-time input');
  if (!range) return;
  const count = Number(range.max) + 1;
  at = ((frame % count) + count) % count;
  range.value = at;
  find('.am-time output').textContent = `frame ${at + 1} of ${count}`;
  find('.am-films').style.setProperty('--time', at / count);
  for (const film of element.querySelectorAll('.am-film')) {
    film.style.setProperty('--at', Math.floor(at * film.dataset.frames / count));
  }
  find('.am-time button').textContent = playing ? 'Pause' : 'Play';
};
element.addEventListener('input', (event) => {
  if (event.target.matches('.am-time input')) { playing = false; show(Number(event.target.value)); }
});
element.addEventListener('click', (event) => {
  if (event.target.closest('.am-time button')) { playing = !playing; show(at); }
});
new MutationObserver((changes) => {
  if (changes.some((change) => [...change.addedNodes].some(
    (node) => node.querySelector && (node.matches('.am-player') || node.querySelector('.am-player'))
  ))) show(at);
}).observe(element, {childList: true, subtree: true});
show(0);
const tick = (now) => {
  if (!element.isConnected) return;
  const films = find('.am-films');
  if (films && playing && now - last > 1000 / films.dataset.fps) { last = now; show(at + 1); }
  requestAnimationFrame(tick);
};
requestAnimationFrame(tick);
"""


def player(clips: Mapping[str, Tensor], fps: float, notes: Sequence[str] = ()) -> str:
    """Clips under their names with a slider in time; warnings below.

    Args:
        clips: ``f 3 h w`` in [-1, 1], of any sizes; one of fewer frames is stretched over the time
            of the longest.
        fps: frames a second of the longest.
        notes: lines to show below.
    """
    count, columns = max(map(len, clips.values())), 4 if len(clips) == 4 else 3
    films = "".join(_film(name, frames) for name, frames in clips.items())
    warnings = "".join(f"<li>{html.escape(line)}</li>" for line in notes)
    below = f'<ul class="am-warnings">{warnings}</ul>' if notes else ""
    return (
        f'<div class="am-player"><div class="am-films" data-fps="{fps:.4g}" '
        f'style="--columns:{columns}">{films}</div>'
        '<div class="am-time"><button type="button">Pause</button>'
        f'<input type="range" min="0" max="{count - 1}" step="1" value="0" '
        'aria-label="Time: the frame that all clips show">'
        f"<output>frame 1 of {count}</output></div>{below}</div>"
    )


def _film(name: str, frames: Tensor) -> str:
    count, height, width = len(frames), frames.shape[-2], frames.shape[-1]
    side = min(SIDE, _WIDEST // count)
    strip = data_uri(film_strip(frames, range(count), side, _QUALITY))
    text = html.escape(name)
    style = f"--frames:{count};--at:0;aspect-ratio:{width}/{height}"
    return (
        f'<figure><div class="am-film" data-frames="{count}" style="{style}">'
        f'<img alt="{text}" src="{strip}"></div><figcaption>{text}</figcaption></figure>'
    )


def progress_bar(now: Progress) -> str:
    """Stage, step and seconds left."""
    name = html.escape(now.stage[:1].upper() + now.stage[1:])
    if now.stage == "sampling" and now.done == now.total:
        name = "Decoding"
    if not now.total or name == "Decoding":
        return f'<div class="am-status"><p class="am-note">{name} ...</p></div>'
    left = "" if now.seconds_left is None else f", about {now.seconds_left:.0f} s left"
    step = "iteration" if now.stage == "tuning" else "step"
    return (
        f'<div class="am-status"><p class="am-note">{name}: {step} {now.done} of {now.total}{left}'
        f'</p><progress max="{now.total}" value="{now.done}" aria-label="{name}"></progress></div>'
    )


def note(text: str, quiet: bool = False) -> str:
    """A line."""
    kind = "am-note am-quiet" if quiet else "am-note"
    return f'<p class="{kind}" role="status">{html.escape(text)}</p>'
