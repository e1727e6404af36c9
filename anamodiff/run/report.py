"""`report.html` of a run folder: one file with the clips in step, what happened, and warnings.

Clips are strips of pictures that CSS moves on: they play in step everywhere, without a codec.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anamodiff.backbone.model import Backbone
from anamodiff.errors import one_line
from anamodiff.fields import dotted
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.panels import inside_panels
from anamodiff.run.findings import unknown_words, warnings_of
from anamodiff.run.folder import RunFolder, write_text
from anamodiff.run.folds import fold_verdict
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.foreground import foreground_mask
from anamodiff.video.letterbox import to_pixels
from anamodiff.visual.charts import colour_histogram, data_uri, film_strip, loss_curves
from anamodiff.warp import foldover

logger = logging.getLogger(__name__)

FILE = "report.html"
TEMPLATE = Path(__file__).parent / "static" / "report.html"
SIDE = 256  # of a strip's pictures, in pixels
#: Bytes of all strips, a third more in base64; the rest of the page is some 50 kB.
LIMIT = 3_500_000
# JPEG quality and most frames, from the best: noisy clips take the next until they fit.
_QUALITIES = ((85, 48), (70, 32), (50, 24), (25, 12))
_COLOURS = 20_000  # of a clip that are compared
_TERMS = {"source": ("source (identity)", "var(--source)"),
          "warped": ("warped clip (pose and motion)", "var(--warped)")}  # fmt: skip

Panels = Mapping[str, Tensor]


def report(
    folder: RunFolder,
    backbone: Backbone,
    pair: ClipPair,
    warped: Tensor | None = None,
    result: Tensor | None = None,
    latents: Tensor | None = None,
    shown: Tensor | None = None,
) -> Path | None:
    """Write `report.html` into a run folder; one warning line where that fails.

    Args:
        backbone: decodes `latents`, and knows words.
        pair: the clips, and what the flow was made from.
        warped: the decoded warped intermediate, f 3 H W in [-1, 1]; None before generation.
        result: the result's frames, likewise.
        latents: some of its latents, for its colours before they were matched; None where they
            were not.
        shown: the result on its ground, f 3 H W, or f 4 H W with alpha.
    """
    try:
        settings = folder.settings
        unmatched = None if latents is None else backbone.decode(latents).cpu()
        unknown = unknown_words(backbone.tokenizer, settings["prompt"])
        clips = clip_panels(pair.warped, warped, result)
        if shown is not None and shown.shape[1] == 3 and pair.source_ground is not None:
            clips["result on its ground"] = shown
        colours = colour_section(pair.warped.source, unmatched, result)
        text = page(settings, folder.record, pair, unknown, clips, warped, colours)
        write_text(folder.path / FILE, text)
    except Exception as error:  # whatever it is, the run itself is well
        logger.warning(
            "no %s was written (%s: %s); the run is complete without it",
            FILE, type(error).__name__, one_line(str(error)),
        )  # fmt: skip
        logger.debug("report", exc_info=True)
        return None
    return folder.path / FILE


def page(
    settings: Mapping[str, Any], record: Mapping[str, Any], pair: ClipPair, unknown: list[str],
    clips: Panels, warped: Tensor | None, colours: str,
) -> str:  # fmt: skip
    """The whole page."""
    made = pair.warped
    inside = inside_panels(made, warped)
    films, frames = _films([clips, inside], len(made.flow))
    seconds = len(made.flow) / pair.fps
    title = f"{settings['prompt']}: {_stem(settings['source'])} moves like " + _stem(
        settings["driving"]
    )
    length, backbone = (
        f"{len(made.flow)} frames in {seconds:.2g} s",
        Path(settings["backbone"]).name,
    )
    stage = "" if "result" in clips else "; tuned, not generated yet"
    versions = {"anamodiff": record.get("anamodiff"), **record.get("versions", {})}
    versions |= {key: record[key] for key in ("peak_memory_mb",) if key in record}
    versions |= dotted({"peak_memory_cuda_mb": record.get("peak_memory_cuda_mb", {})})
    chosen = {"generation": record["generation"]} if "generation" in record else {}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        subtitle=html.escape(f"{length}, backbone {backbone}, seed {settings['seed']}{stage}"),
        warnings=_warnings(warnings_of(made, unknown)),
        clips=_figures(films[: len(clips)], clips, frames, seconds),
        inside=_figures(films[len(clips) :], inside, frames, seconds),
        frames=frames,
        motion=html.escape(_motion(made)),
        losses=_losses(record),
        colours=colours,
        timings=_timings(record.get("timings", {})),
        settings=_table(dotted({**settings, **chosen})),
        versions=_table(versions),
    )


def clip_panels(
    made: WarpedIntermediate, warped: Tensor | None, result: Tensor | None
) -> dict[str, Tensor]:
    """The clips to compare; a source of other length is stretched over the time of the rest."""
    count = len(made.flow)
    stretched = torch.arange(count) * len(made.source) // count
    panels = {"source": made.source[stretched], "driving clip": made.driving}
    others = {"warped: the source along the flow": warped, "result": result}
    return panels | {name: frames for name, frames in others.items() if frames is not None}


def _films(groups: Sequence[Panels], count: int) -> tuple[list[str], int]:
    """Addresses of all panels' strips, within `LIMIT`, and the number of their frames."""
    strips: list[bytes] = []
    frames = 0
    for quality, most in _QUALITIES:
        frames = min(count, most)
        chosen = [index * count // frames for index in range(frames)]
        strips = [
            film_strip(panel, chosen, SIDE, quality) for group in groups for panel in group.values()
        ]
        if sum(map(len, strips)) <= LIMIT:
            break
    return [data_uri(strip) for strip in strips], frames


def _figures(films: Sequence[str], panels: Panels, frames: int, seconds: float) -> str:
    style = f"--frames:{frames};--seconds:{seconds:.4g}s"
    return "\n".join(
        f'<figure><div class="film" style="{style}"><img alt="{html.escape(name)}" src="{film}">'
        f"</div><figcaption>{html.escape(name)}</figcaption></figure>"
        for film, name in zip(films, panels, strict=True)
    )


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return "<p>Nothing unusual was found.</p>"
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<ul class="warnings">{items}</ul>'


def _motion(made: WarpedIntermediate) -> str:
    folded = foldover(made.flow)
    what = "Skeletons carry" if made.poses is not None else "Key points carry"
    return (
        f"{what} the motion. {float(folded.mean()):.1%} of the flow's cells are folded over, "
        f"{float(folded.max()):.1%} in the worst frame: {fold_verdict(float(folded.mean()))}."
    )


def _losses(record: Mapping[str, Any]) -> str:
    """The curves of both terms; of the total, where a run is older than they are."""
    terms = record.get("loss_terms", {})
    curves = {name: terms[name] for name in _TERMS if any(terms.get(name, []))}
    named = {_TERMS[name][0]: values for name, values in curves.items()}
    colours = [_TERMS[name][1] for name in curves]
    if not curves:
        named, colours = {"total": record.get("losses", [])}, ["var(--source)"]
    keys = "".join(
        f'<span class="key" style="--colour:{colour}">{html.escape(name)}</span>'
        for name, colour in zip(named, colours, strict=True)
    )
    return (
        f"{loss_curves(named, colours)}<p>{keys}</p><p class=quiet>In tuning, noise is added "
        "to the clips and the model guesses it; the loss is its error, and a falling line means "
        "that it learns them. Each iteration has a noise level of its own, on which its loss "
        "depends more than on the training (the dots); the lines are running means.</p>"
    )


def colour_section(source: Tensor, unmatched: Tensor | None, result: Tensor | None) -> str:
    """Histograms of the character's colours in the source and the result, before and after."""
    own = character_colours(source)
    clips = {"source": own}
    if unmatched is not None:
        clips["result before matching"] = character_colours(unmatched)
    if result is not None:
        name = "result" if unmatched is None else "result after matching"
        clips[name] = character_colours(result)
    figures = []
    for name, colours in clips.items():
        apart = "" if name == "source" else f", {colour_distance(colours, own):.1f} of 255 apart"
        caption = html.escape(f"{name}{apart}")
        chart = colour_histogram(colours)
        figures.append(f"<figure>{chart}<figcaption>{caption}</figcaption></figure>")
    return (
        f'<div class="panels">{"".join(figures)}</div><p class=quiet>Red, green and blue of the '
        "character without its ground, dark to bright; apart: how far the colours would have to "
        "move to be the source's.</p>"
    )


def character_colours(frames: Tensor) -> np.ndarray:
    """Colours of the foreground, or of everything without one: bytes ``n 3``, `_COLOURS` at most.

    They are taken evenly from four frames at most.
    """
    few = frames[:: max(1, -(-len(frames) // 4))]
    pictures, mask = to_pixels(few), foreground_mask(few).cpu().numpy()
    colours = pictures[mask] if mask.any() else pictures.reshape(-1, 3)
    return colours[:: max(1, -(-len(colours) // _COLOURS))]


def colour_distance(colours: np.ndarray, other: np.ndarray) -> float:
    """Mean over channels of the distance between distributions (Wasserstein's), in steps of 255."""
    places = np.linspace(0, 1, 101)
    one, two = (np.quantile(each, places, axis=0) for each in (colours, other))
    return float(np.abs(one - two).mean())


def _timings(seconds: Mapping[str, float]) -> str:
    whole = sum(seconds.values())
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{value:.1f} s</td>"
        f'<td><meter max="{max(whole, 1e-6):.3f}" value="{value}"></meter></td></tr>'
        for name, value in seconds.items()
    )
    return f"<table>{rows}<tr><th>together</th><td>{whole:.1f} s</td><td></td></tr></table>"


def _table(values: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
        for key, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _stem(name: str | None) -> str:
    return Path(name).stem if name else "a clip"
