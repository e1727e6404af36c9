"""Settings that have little or no effect beside others: a line for each, before any work begins."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamodiff.diffusion import Schedule
from anamodiff.fields import Options
from anamodiff.options import GenerationOptions, TuningOptions
from anamodiff.tuning.plateau import EVERY, PATIENCE

logger = logging.getLogger(__name__)

#: Settings of a stage as a caller gives them: whole options, some by name, or none.
Given = Options | Mapping[str, Any] | None


@dataclass
class InertSettings:
    """Logs a warning for each setting that the others leave without effect, each line once.

    Args:
        schedule: the backbone's, from which the timesteps of sampling follow.
    """

    schedule: Schedule
    _logged: set[str] = field(default_factory=set, init=False)

    def warn(
        self,
        tuning: TuningOptions,
        generation: GenerationOptions | None = None,
        given_tuning: Given = None,
        given_sampling: Given = None,
    ) -> None:
        """Warn of these options.

        Args:
            tuning, generation: what will be used; None where sampling is not known yet.
            given_tuning, given_sampling: what the caller set himself. Of a setting that a preset
                or the backbone names, nobody expects anything.
        """
        lines = list(inert_tuning(tuning, _names(given_tuning)))
        if generation is not None:
            lines += inert_generation(generation, _names(given_sampling), self.schedule)
            lines += inert_ranges(tuning, generation, self.schedule)
        for line in lines:
            if line not in self._logged:
                self._logged.add(line)
                logger.warning(line)


def inert_tuning(options: TuningOptions, given: Sequence[str]) -> Iterator[str]:
    """Lines on tuning by itself; `given` are the names that the caller set."""
    if options.iterations == 0:
        # Inflating the UNet needs the kind of group norm, tuned or not.
        idle = [name for name in given if name not in ("iterations", "group_norm")]
        if idle:
            yield (
                f"no effect of {_keys('tuning', idle)} with tuning.iterations=0, which tunes "
                "nothing: raise tuning.iterations"
            )
        return
    idle = [name for name in given if name in ("noise_min", "noise_max")]
    if options.warped_weight == 0 and idle:
        yield (
            f"no effect of {_keys('tuning', idle)} with tuning.warped_weight=0, which leaves the "
            "warped clip out: raise tuning.warped_weight"
        )
    first = max(options.iterations_min, PATIENCE * EVERY)
    first += -first % EVERY  # the loss is evaluated every so many iterations
    if options.plateau > 0 and first >= options.iterations:
        yield (
            f"no effect of tuning.plateau, which may stop after {first} iterations or more, with "
            f"tuning.iterations={options.iterations}: raise tuning.iterations or lower "
            "tuning.iterations_min"
        )
    if options.plateau == 0 and "iterations_min" in given:
        yield "no effect of tuning.iterations_min with tuning.plateau=0: raise tuning.plateau"


def inert_generation(
    options: GenerationOptions, given: Sequence[str], schedule: Schedule
) -> Iterator[str]:
    """Lines on sampling by itself; `given` are the names that the caller set."""
    if options.guidance == 1 and options.negative_prompt:
        yield (
            "no effect of generation.negative_prompt with generation.guidance=1, which is no "
            "guidance: raise generation.guidance"
        )
    if "noise_weight" in given and options.noise_warp != "paper":
        yield (
            f"no effect of generation.noise_weight with generation.noise_warp={options.noise_warp}"
            ": set generation.noise_warp=paper"
        )
    visited = schedule.visited(options.steps, options.denoise_from)
    if options.unseen_from is not None and len(visited) < options.steps:
        earlier = schedule.visited(options.steps, options.unseen_from)
        if len(earlier) <= len(visited):
            yield (
                f"little effect of generation.unseen_from={options.unseen_from}: cells that no "
                f"source frame shows begin with all others at {visited[0]}; raise it above that"
            )
    if options.denoise_from < len(schedule) and len(visited) == options.steps > 1:
        yield (
            f"no effect of generation.denoise_from={options.denoise_from}: the first of "
            f"{options.steps} steps is at {visited[0]}, so sampling starts from noise alone; lower "
            f"it below {visited[0]} or raise generation.steps"
        )


def inert_ranges(
    tuning: TuningOptions, generation: GenerationOptions, schedule: Schedule
) -> Iterator[str]:
    """Lines on the clips that are learnt only at timesteps which sampling leaves out."""
    visited = schedule.visited(generation.steps, generation.denoise_from)
    for clip, prefix, weight in (
        ("warped clip", "", tuning.warped_weight),
        ("source", "source_", 1.0),
    ):
        first = getattr(tuning, f"{prefix}noise_min")
        stop = getattr(tuning, f"{prefix}noise_max")
        if tuning.iterations == 0 or weight == 0 or covered(visited, first, stop):
            continue
        if visited[0] < first:
            cure = f"lower tuning.{prefix}noise_min to {visited[0]} or less"
            if later := covered(schedule.timesteps(generation.steps).tolist(), first, stop):
                cure += f", or raise generation.denoise_from to {later[-1]} or more"
        elif visited[-1] >= stop:
            cure = f"raise tuning.{prefix}noise_max above {visited[-1]}"
        else:
            cure = f"widen the range or raise generation.steps above {generation.steps}"
        yield (
            f"little effect of the {clip} in tuning: it is learnt at timesteps {first} to "
            f"{stop - 1}, of which sampling uses none ({len(visited)} from {visited[0]} to "
            f"{visited[-1]}); {cure}"
        )


def covered(visited: Sequence[int], first: int, stop: int) -> list[int]:
    """Those of the timesteps that sampling visits which a clip's range [first, stop) teaches."""
    return [t for t in visited if first <= t < stop]


def _names(given: Given) -> list[str]:
    """Names that a caller set; of whole options it is not known."""
    if not isinstance(given, Mapping):
        return []
    return [name for name, value in given.items() if value is not None]


def _keys(section: str, names: Sequence[str]) -> str:
    return ", ".join(f"{section}.{name}" for name in names)
