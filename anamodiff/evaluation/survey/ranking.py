"""Statistics of a survey's answers: mean ranks, with Friedman's and Wilcoxon's tests; ratings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.answers import Answers, read_survey
from anamodiff.evaluation.survey.page import VERSION
from anamodiff.evaluation.survey.rating import RatingResult, rating_lines, rating_results
from anamodiff.resources import expanded
from anamodiff.run.folder import write_text
from anamodiff.run.outputs import check_no_input

#: The significance level: a p value up to which a difference counts.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Difference:
    """Wilcoxon's signed-rank test of one method against the best, two-sided.

    `holm` is `p` corrected for the number of methods compared.
    """

    p: float
    holm: float


@dataclass(frozen=True)
class QuestionResult:
    """Statistics of one question's rankings.

    Attributes:
        mean_ranks: by method, the best (lowest) first; 1 is the best there can be.
        statistic, p: Friedman's test that all methods rank alike; None with too few observations.
        against_best: by method, without the best.
    """

    mean_ranks: dict[str, float]
    statistic: float | None
    p: float | None
    against_best: dict[str, Difference]


@dataclass(frozen=True)
class SurveyResults:
    """Statistics of all questions.

    Attributes:
        rankings: how many each question has; 0 where people only rated.
        unit: what the tests count as one observation, "person" or "ranking".
        ratings: by what was rated, and by method, the best first.
    """

    survey: str
    people: int
    pairs: int
    rankings: int
    unit: str
    questions: dict[str, QuestionResult]
    ratings: dict[str, dict[str, RatingResult]] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """A table for each question, notes on tests that say nothing, a table for each rating."""
        judged = next(iter(self.ratings.values()), None)
        methods = next((one.mean_ranks for one in self.questions.values()), judged or {})
        did = "ranked" if self.questions else "rated"
        lines = [
            f"survey {self.survey}: {_count(self.people, 'person', 'people')} {did} "
            f"{_count(len(methods), 'method')} on {_count(self.pairs, 'pair')}"
        ]
        if self.questions:
            lines[0] += f", {_count(self.rankings, 'ranking')} for each question"
        for question, result in self.questions.items():
            lines += ["", *_table(question, result, self._observations)]
        if self.questions:
            lines += self._notes(len(methods))
        for name, results in self.ratings.items():
            lines += ["", *rating_lines(name, results)]
        return lines

    @property
    def _observations(self) -> str:
        if self.unit == "person":
            return _count(self.people, "person", "people")
        return _count(self.rankings, "ranking")

    def _notes(self, methods: int) -> list[str]:
        """Lines on tests that could not be made, or could not find a difference."""
        count = self.people if self.unit == "person" else self.rankings
        notes = []
        if methods < 3:
            notes.append(f"no Friedman test: expected at least three methods, got {methods}")
        elif count < 2:
            notes.append(f"no Friedman test: expected at least two, got {self._observations}")
        smallest = 2.0 ** (1 - count)  # all differences of one sign
        if smallest > SIGNIFICANCE:
            cure = " or count every ranking with unit=ranking" if self.unit == "person" else ""
            notes.append(
                f"{self._observations} cannot show a difference (p would be at least "
                f"{smallest:g}): ask more people{cure}"
            )
        return ["", *notes] if notes else []


def survey_results(
    answers: Sequence[str | Path],
    *,
    key: str | Path | None = None,
    output: str | Path | None = None,
    unit: str = "person",
) -> SurveyResults:
    """Mean rank of each method for motion and for shape, with Friedman's and Wilcoxon's tests, and
    mean rating of its motion and appearance.

    Args:
        answers: files that the survey's page saved, one of each person.
        key: the survey's `key.json`; by default the one beside the answers or one folder above.
        output: JSON file for the result.
        unit: one observation of the tests and intervals. "person" averages each person's rankings
            and ratings first, which are not independent; "ranking" counts every one, which
            overstates significance.

    Raises:
        AnaMoDiffError: a file is missing, broken, incomplete, of another survey or given twice.
    """
    if unit not in ("person", "ranking"):
        raise AnaMoDiffError(f"expected unit person or ranking, got {unit!r}")
    file = None if output is None else expanded(output)
    if file is not None and file.suffix.lower() != ".json":
        raise AnaMoDiffError(f"expected a .json file for --output, got {file}: name one")
    check_no_input(file, (*answers, key))
    opened, people = read_survey(answers, key)
    found = SurveyResults(
        survey=opened.survey,
        people=len(people),
        pairs=len(opened.pairs),
        rankings=len(people) * len(opened.pairs) if opened.questions else 0,
        unit=unit,
        questions={
            name: question_result(name, people, opened.methods, unit) for name in opened.questions
        },
        ratings={
            name: rating_results(name, [person.ratings for person in people], opened.methods, unit)
            for name in opened.rated
        },
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"version": VERSION, **asdict(found)}, indent=1) + "\n")
    return found


def question_result(
    question: str, people: Sequence[Answers], methods: Sequence[str], unit: str
) -> QuestionResult:
    """Mean ranks of one question, and the tests of their differences."""
    table = np.array([_ranks(person, question, methods) for person in people])
    # Sums, not means: whole numbers, so that equal differences are equal.
    rows = table.sum(axis=1) if unit == "person" else table.reshape(-1, len(methods))
    means = dict(zip(methods, table.mean(axis=(0, 1)).tolist(), strict=True))
    best, *others = order = sorted(means, key=means.__getitem__)
    statistic, p = friedman(rows)
    column = dict(zip(methods, rows.T, strict=True))
    single = [signed_rank(column[name], column[best]) for name in others]
    tests = map(Difference, single, holm(single))
    return QuestionResult(
        {name: means[name] for name in order}, statistic, p, dict(zip(others, tests, strict=True))
    )


def _ranks(person: Answers, question: str, methods: Sequence[str]) -> list[list[int]]:
    """Ranks from 1, by pair and method."""
    orders = [order for (of, _), order in person.rankings.items() if of == question]
    return [[order.index(name) + 1 for name in methods] for order in orders]


def friedman(rows: np.ndarray) -> tuple[float | None, float | None]:
    """Friedman's chi-square and its p, of observations by methods; None below 2 by 3."""
    if rows.shape[0] < 2 or rows.shape[1] < 3:
        return None, None
    if (rows == rows[:, :1]).all():
        return 0.0, 1.0  # where all are tied, scipy divides by zero
    found = stats.friedmanchisquare(*rows.T)
    return float(found.statistic), float(found.pvalue)


def signed_rank(one: np.ndarray, other: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of paired observations."""
    if (one == other).all():
        return 1.0  # scipy's normal approximation divides by zero
    return float(stats.wilcoxon(one, other).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected by Holm's step-down method, in their order."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for step, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - step) * values[index]))
        corrected[index] = highest
    return corrected


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _table(question: str, result: QuestionResult, observations: str) -> list[str]:
    width = max(len(name) for name in (*result.mean_ranks, question)) + 2
    lines = [f"{question:{width}}  mean rank  p against the best (Holm)"]
    for name, rank in result.mean_ranks.items():
        other = result.against_best.get(name)
        last = "best" if other is None else f"{_p(other.p)} ({_p(other.holm)})"
        lines.append(f"  {name:{width}}{rank:9.2f}  {last}")
    if result.p is not None:
        freedom = len(result.mean_ranks) - 1
        lines.append(
            f"  Friedman over {observations}: chi-square {result.statistic:.2f}, "
            f"{freedom} degrees of freedom, p {_p(result.p)}"
        )
    return lines


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
