"""The two terms of the tuning loss, one value an iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Values = list[float | None]


@dataclass
class LossTerms:
    """Unweighted terms of the loss, one value an iteration.

    Attributes:
        source: denoising error of the source (identity).
        warped: that of the warped clip (pose and motion).

    A value is None where it is not known, in iterations before a resumption by an older version,
    or where the term takes no part.
    """

    source: Values = field(default_factory=list)
    warped: Values = field(default_factory=list)

    @property
    def columns(self) -> dict[str, Values]:
        """Both, by name, for a file."""
        return {"source": list(self.source), "warped": list(self.warped)}

    def begin(self, known: Mapping[str, Sequence[float | None]], count: int) -> None:
        """Start after `count` iterations, of which a checkpoint knows some."""
        for name, values in (("source", self.source), ("warped", self.warped)):
            values[:] = list(known.get(name, []))[:count]
            values += [None] * (count - len(values))

    def add(self, source: float, warped: float | None) -> None:
        """The terms of one more iteration."""
        self.source.append(source)
        self.warped.append(warped)
