"""Survey results: the statistics are those worked out by hand, and bad files are one line."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from survey_samples import METHODS, write_answers, write_results

from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.page import Survey, write_survey
from anamodiff.evaluation.survey.ranking import friedman, holm, signed_rank, survey_results

A, B, C = METHODS
# Ranks 1 2 3 four times, then 2 1 3, then 1 3 2: sums 7, 12 and 17.
ORDERS = ((A, B, C),) * 4 + ((B, A, C), (A, C, B))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), ("cat-horse-run", "pig-dog-walk"))


@pytest.fixture(scope="module")
def survey(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return write_survey(drawn, output=tmp_path_factory.mktemp("survey") / "s", ask="ranking")


def answer_files(
    survey: Survey,
    folder: Path,
    orders: Sequence[Sequence],
    shape: Sequence[Sequence] | None = None,
) -> list[Path]:
    """A file for each person, whose order is the same for both questions without `shape`."""
    return [
        write_answers(folder / f"{number}.json", survey, {"motion": motion, "shape": other})
        for number, (motion, other) in enumerate(zip(orders, shape or orders, strict=True))
    ]


def test_mean_ranks_and_tests_worked_out_by_hand(survey: Survey, tmp_path: Path) -> None:
    found = survey_results(answer_files(survey, tmp_path, ORDERS), key=survey.key)
    assert (found.people, found.pairs, found.rankings, found.unit) == (6, 2, 12, "person")
    motion = found.questions["motion"]
    assert motion == found.questions["shape"]
    assert list(motion.mean_ranks) == [A, B, C], "best first"
    assert motion.mean_ranks == pytest.approx({A: 7 / 6, B: 12 / 6, C: 17 / 6})
    # 12 / (n k (k + 1)) * sum of squared rank sums - 3 n (k + 1), with 2 degrees of freedom
    chi_square = 12 / (6 * 3 * 4) * (7**2 + 12**2 + 17**2) - 3 * 6 * 4
    assert motion.statistic == pytest.approx(chi_square)
    assert motion.p == pytest.approx(math.exp(-chi_square / 2))
    # B less A: 1 1 1 1 -1 2, ranks 3 and 6, W- = 3; of 64 signs the 6 with at most one of the
    # five small ones negative are as far out. C less A: all positive, 1 of 64. Two-sided: twice.
    against = motion.against_best
    assert list(against) == [B, C]
    assert [against[name].p for name in (B, C)] == pytest.approx([12 / 64, 2 / 64])
    assert [against[name].holm for name in (B, C)] == pytest.approx([12 / 64, 2 * 2 / 64])


def test_questions_have_rankings_of_their_own(survey: Survey, tmp_path: Path) -> None:
    files = answer_files(survey, tmp_path, [(A, B, C)] * 4, [(C, B, A)] * 4)
    questions = survey_results(files, key=survey.key).questions
    assert questions["motion"].mean_ranks == {A: 1, B: 2, C: 3}
    assert questions["shape"].mean_ranks == {C: 1, B: 2, A: 3}
    assert list(questions["shape"].mean_ranks) == [C, B, A]
    assert questions["motion"].statistic == pytest.approx(8)  # n (k - 1): all agree


def test_a_persons_rankings_count_once_or_each(survey: Survey, tmp_path: Path) -> None:
    # Two pairs: everybody has A, B, C for the first; for the second three turn B and C round.
    orders = [[(A, B, C), (A, C, B)]] * 3 + [[(A, B, C), (A, B, C)]]
    files = answer_files(survey, tmp_path, orders)
    person = survey_results(files, key=survey.key).questions["motion"]
    each = survey_results(files, key=survey.key, unit="ranking").questions["motion"]
    assert person.mean_ranks == each.mean_ranks == {A: 1, B: 19 / 8, C: 21 / 8}
    # People: ranks 1 2.5 2.5 three times and 1 2 3; sums 4, 9.5, 10.5, corrected for three ties.
    plain = 12 / (4 * 3 * 4) * (4**2 + 9.5**2 + 10.5**2) - 3 * 4 * 4
    assert person.statistic == pytest.approx(plain / (1 - 3 * (2**3 - 2) / (4 * (3**3 - 3))))
    # Rankings: sums 8, 19, 21 over eight, without ties.
    assert each.statistic == pytest.approx(12 / (8 * 12) * (8**2 + 19**2 + 21**2) - 3 * 8 * 4)
    assert each.p < person.p


def test_equal_differences_are_ties(tmp_path: Path) -> None:
    pairs = ("cat-horse-run", "pig-dog-walk", "cow-fox-jump")
    drawn = write_results(tmp_path / "results", pairs)
    survey = write_survey(drawn, output=tmp_path / "s", ask="ranking")
    # Sums of A and B: 5 and 6 five times, 5 and 4. As thirds, the last would differ by more.
    orders = [[(A, B, C), (C, A, B), (B, A, C)]] * 5 + [[(B, A, C), (B, A, C), (A, B, C)]]
    found = survey_results(answer_files(survey, tmp_path, orders), key=survey.key).questions[
        "motion"
    ]
    # Six equal differences, one of them negative: 7 of 64 signs have no more.
    assert found.against_best[B].p == pytest.approx(2 * 7 / 64)


def test_where_nothing_differs() -> None:
    same = np.full((4, 3), 6)
    assert friedman(same) == (0.0, 1.0)
    assert signed_rank(same[:, 0], same[:, 1]) == 1.0
    assert friedman(same[:1]) == friedman(same[:, :2]) == (None, None)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_table(survey: Survey, tmp_path: Path) -> None:
    lines = survey_results(answer_files(survey, tmp_path, ORDERS), key=survey.key).lines
    assert lines[0] == (
        f"survey {survey.id}: 6 people ranked 3 methods on 2 pairs, 12 rankings for each question"
    )
    assert lines[2:7] == [
        "motion          mean rank  p against the best (Holm)",
        "  anamodiff          1.17  best",
        "  warp-only          2.00  0.188 (0.188)",
        "  tune-a-video       2.83  0.031 (0.062)",
        "  Friedman over 6 people: chi-square 8.33, 2 degrees of freedom, p 0.016",
    ]
    assert lines[8].startswith("shape ") and len(lines) == 13


def test_too_few_methods_or_people_are_said(drawn: Path, survey: Survey, tmp_path: Path) -> None:
    two = write_survey(drawn, output=tmp_path / "two", methods=(A, B), ask="ranking")
    found = survey_results(answer_files(two, tmp_path / "b", [(A, B)] * 6), key=two.key)
    assert found.questions["motion"].p is None
    assert found.questions["motion"].against_best[B].p == pytest.approx(2 / 64)
    assert found.lines[-1] == "no Friedman test: expected at least three methods, got 2"
    one = survey_results(answer_files(survey, tmp_path / "c", ORDERS[:1]), key=survey.key)
    assert one.lines[-2:] == [
        "no Friedman test: expected at least two, got 1 person",
        "1 person cannot show a difference (p would be at least 1): ask more people or count every "
        "ranking with unit=ranking",
    ]
    five = survey_results(answer_files(survey, tmp_path / "d", ORDERS[:5]), key=survey.key)
    assert "5 people cannot show a difference (p would be at least 0.0625)" in five.lines[-1]
    every = survey_results(
        answer_files(survey, tmp_path / "d", ORDERS[:5]), key=survey.key, unit="ranking"
    )
    assert "Friedman over 10 rankings" in every.lines[-1]


def test_the_key_is_found_beside_or_above(drawn: Path, tmp_path: Path) -> None:
    survey = write_survey(drawn, output=tmp_path / "s", ask="ranking")
    above = answer_files(survey, survey.folder / "answers", ORDERS[:2])
    beside = answer_files(survey, survey.folder, ORDERS[:2])
    assert survey_results(above) == survey_results(beside)
    # *.json names the key too
    assert survey_results([survey.key, *beside]) == survey_results(beside)
    away = answer_files(survey, tmp_path / "a" / "b" / "c", ORDERS[:2])
    with pytest.raises(AnaMoDiffError, match=r"key\.json beside the answers .*--key"):
        survey_results(away)
    with pytest.raises(AnaMoDiffError, match="expected at least one file of answers, got none"):
        survey_results([survey.key])


def test_the_result_as_json(survey: Survey, tmp_path: Path) -> None:
    file = tmp_path / "new" / "result.json"
    found = survey_results(answer_files(survey, tmp_path, ORDERS), key=survey.key, output=file)
    held = json.loads(file.read_text())
    assert (held["version"], held["survey"], held["people"]) == (1, survey.id, 6)
    shape = held["questions"]["shape"]
    assert shape["mean_ranks"] == found.questions["shape"].mean_ranks
    assert shape["against_best"][C] == {"p": pytest.approx(2 / 64), "holm": pytest.approx(4 / 64)}
    with pytest.raises(AnaMoDiffError, match=r"a \.json file for --output, got .*result\.csv"):
        survey_results(answer_files(survey, tmp_path, ORDERS), key=survey.key, output="result.csv")


def without_last(answers: dict) -> None:
    del answers["answers"][-1]


def with_hole(answers: dict) -> None:
    answers["answers"][0]["ranking"][1] = None


def with_twice(answers: dict) -> None:
    answers["answers"][0]["ranking"][1] = answers["answers"][0]["ranking"][0]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda a: a.update(survey="abc"), r"expected answers to survey \w+, got survey abc's in"),
        (without_last, r"expected all 3 results in the shape ranking of pair 2 in .*, got 0: ask"),
        (with_hole, r"expected all 3 results in the motion ranking of pair 1 in .*, got 2: ask"),
        (with_twice, r"expected each result once in the motion ranking of pair 1 in"),
        (lambda a: a["answers"][0]["ranking"].append("x.mp4"), r"expected each result once"),
        (lambda a: a["answers"][0].update(ranking=["a.mp4", "b.mp4", [1]]), r"each result once"),
        (lambda a: a.update(version=2), r"answers that the survey's page saved, got something"),
        (lambda a: a.pop("person"), r"answers that the survey's page saved, got something else"),
        (
            lambda a: a.update(answers=5),
            r"answers that the survey's page saved, got something else",
        ),
        (lambda a: a.update(person="1"), r"one file from each person, got .*0\.json and .*1\.json"),
    ],
)
def test_answers_that_cannot_be_used(
    survey: Survey, tmp_path: Path, spoil: Callable[[dict], None], line: str
) -> None:
    files = answer_files(survey, tmp_path, ORDERS[:2])
    answers = json.loads(files[0].read_text())
    spoil(answers)
    files[0].write_text(json.dumps(answers))
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        survey_results(files, key=survey.key)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(survey: Survey, tmp_path: Path) -> None:
    (good,) = answer_files(survey, tmp_path, ORDERS[:1])
    broken = tmp_path / "broken.json"
    for content in (b"{", b"\xff\xfe\x00", b""):
        broken.write_bytes(content)
        with pytest.raises(
            AnaMoDiffError, match=r"got broken JSON in .*broken\.json: get the file"
        ):
            survey_results([good, broken], key=survey.key)
    with pytest.raises(AnaMoDiffError, match=r"got nothing at .*none\.json"):
        survey_results([good, tmp_path / "none.json"], key=survey.key)
    with pytest.raises(AnaMoDiffError, match="got a folder at"):
        survey_results([tmp_path], key=survey.key)
    with pytest.raises(
        AnaMoDiffError, match=r"expected a survey's key\.json of version 1, got som"
    ):
        survey_results([good], key=good)
    with pytest.raises(AnaMoDiffError, match="expected unit person or ranking, got 'pair'"):
        survey_results([good], key=survey.key, unit="pair")


def test_the_command_line_takes_files_in_any_order(
    survey: Survey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = map(str, answer_files(survey, tmp_path / "a=b, c", ORDERS))
    words = [first, "--key", str(survey.key), *others[:2], "unit=ranking", *others[2:]]
    assert cli.main(["survey-results", *words, "--output", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "6 people ranked 3 methods" in out and "Friedman over 12 rankings" in out
    assert f"figures: {tmp_path / 'r.json'}\n" in out
