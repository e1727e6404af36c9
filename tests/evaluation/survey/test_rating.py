"""Ratings from 1 to 5: means, intervals and distributions, and files from before there were any."""

import json
from pathlib import Path

import pytest
from survey_samples import METHODS, methods_of, page_data, write_answers, write_results

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.page import RATED, Survey, write_survey
from anamodiff.evaluation.survey.ranking import survey_results

A, B, C = METHODS
ORDERS = {"motion": METHODS, "shape": METHODS}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), ("cat-horse-run", "pig-dog-walk"))


@pytest.fixture(scope="module")
def survey(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return write_survey(drawn, output=tmp_path_factory.mktemp("survey") / "s")


def points(a: int, b: int, c: int) -> dict[str, dict[str, int]]:
    """Points for motion; of appearance everybody finds all methods fair."""
    return {"motion": {A: a, B: b, C: c}, "appearance": dict.fromkeys(METHODS, 3)}


def test_means_intervals_and_distributions(survey: Survey, tmp_path: Path) -> None:
    given = [points(5, 3, 1), points(4, 3, 1), points(4, 3, 2), points(5, 3, 1)]
    files = [write_answers(tmp_path / f"{n}.json", survey, ORDERS, p) for n, p in enumerate(given)]
    found = survey_results(files, key=survey.key)
    motion = found.ratings["motion"]
    assert list(motion) == [A, B, C], "best first"
    assert (motion[A].mean, motion[B].mean, motion[C].mean) == (4.5, 3, 1.25)
    assert 4 <= motion[A].low < 4.5 < motion[A].high <= 5
    assert (motion[B].low, motion[B].high) == (3, 3), "all agree"
    # Two pairs each.
    assert motion[A].distribution == [0, 0, 0, 4, 4] and motion[C].distribution == [6, 2, 0, 0, 0]
    assert found.ratings["appearance"][C].distribution == [0, 0, 8, 0, 0]
    assert found.questions["motion"].mean_ranks[A] == 1, "rankings are there as well"
    every = survey_results(files, key=survey.key, unit="ranking").ratings["motion"]
    assert every[A].mean == 4.5
    assert every[A].high - every[A].low < motion[A].high - motion[A].low, "twice as many"


def test_the_table_and_the_file(survey: Survey, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    answers = write_answers(tmp_path / "1.json", survey, ORDERS, points(5, 3, 1))
    lines = survey_results([answers], key=survey.key, output=file).lines
    assert lines[-10:-5] == [
        "",
        "motion, rated    mean [95 %]          1    2    3    4    5  (1 bad, 5 excellent)",
        "  anamodiff      5.00                 0    0    0    0    2",
        "  warp-only      3.00                 0    0    2    0    0",
        "  tune-a-video   1.00                 2    0    0    0    0",
    ]
    assert lines[-5:-3] == [
        "",
        "appearance, rated    mean [95 %]          1    2    3    4    5  (1 bad, 5 excellent)",
    ]
    held = json.loads(file.read_text(), parse_constant=lambda word: pytest.fail(word))
    one = held["ratings"]["motion"][A]
    assert one == {"mean": 5, "low": None, "high": None, "distribution": [0, 0, 0, 0, 2]}


def test_a_survey_of_ratings_alone(drawn: Path, tmp_path: Path) -> None:
    survey = write_survey(drawn, output=tmp_path / "s", ask="rating")
    assert page_data(survey)["questions"] == [] and page_data(survey)["rated"] == list(RATED)
    files = [write_answers(tmp_path / f"{n}.json", survey, {}, points(5, n, 1)) for n in (2, 3, 4)]
    found = survey_results(files, key=survey.key)
    assert found.questions == {} and found.rankings == 0
    assert found.lines[0] == f"survey {survey.id}: 3 people rated 3 methods on 2 pairs"
    assert "mean rank" not in "\n".join(found.lines)


def test_what_is_asked_for_is_in_the_page_and_the_key(drawn: Path, tmp_path: Path) -> None:
    survey = write_survey(drawn, output=tmp_path / "s", ask="ranking")
    assert page_data(survey)["rated"] == [] == json.loads(survey.key.read_text())["rated"]
    both = write_survey(drawn, output=tmp_path / "b")
    for pair in page_data(both)["pairs"]:
        assert sorted(pair["rating"]) == sorted(pair["motion"])
    with pytest.raises(AnaMoDiffError, match="expected ask both, ranking, rating, got 'all'"):
        write_survey(drawn, output=tmp_path / "c", ask="all")  # pyright: ignore


def test_surveys_from_before_there_were_ratings_are_read(drawn: Path, tmp_path: Path) -> None:
    survey = write_survey(drawn, output=tmp_path / "s")
    key = json.loads(survey.key.read_text())
    survey.key.write_text(
        json.dumps({k: v for k, v in key.items() if k not in ("questions", "rated")})
    )
    found = survey_results([write_answers(tmp_path / "1.json", survey, ORDERS)], key=survey.key)
    assert found.ratings == {} and found.questions["shape"].mean_ranks == {A: 1, B: 2, C: 3}
    assert not [line for line in found.lines if "rated" in line]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, r"expected all 3 results in the motion ratings of pair 1 in .*, got 2: ask"),
        (
            6,
            r"expected whole numbers from 1 to 5 for its own results in the motion ratings .*got 6",
        ),
        (0, r"from 1 to 5 .* got 0 for"),
        (True, r"from 1 to 5 .* got True for"),
        (4.5, r"from 1 to 5 .* got 4.5 for"),
        ("5", r"from 1 to 5 .* got '5' for"),
        ([], r"from 1 to 5"),
    ],
)
def test_ratings_that_cannot_be_used(
    survey: Survey, tmp_path: Path, value: object, line: str
) -> None:
    file = write_answers(tmp_path / "1.json", survey, ORDERS, points(5, 3, 1))
    answers = json.loads(file.read_text())
    of_first = answers["ratings"][0]["points"]["motion"]
    of_first[next(iter(of_first))] = value
    file.write_text(json.dumps(answers))
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        survey_results([file], key=survey.key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ratings", [5, [{}], [{"pair": "1", "points": 3}], [{"pair": "1"}]])
def test_broken_ratings_are_one_line(survey: Survey, tmp_path: Path, ratings: object) -> None:
    file = write_answers(tmp_path / "1.json", survey, ORDERS, points(5, 3, 1))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ratings": ratings}))
    with pytest.raises(AnaMoDiffError, match="expected answers that the survey's page saved"):
        survey_results([file], key=survey.key)


def test_ratings_of_another_result_are_refused(survey: Survey, tmp_path: Path) -> None:
    file = write_answers(tmp_path / "1.json", survey, ORDERS, points(5, 3, 1))
    answers = json.loads(file.read_text())
    answers["ratings"][0]["points"]["motion"]["x.mp4"] = 3
    file.write_text(json.dumps(answers))
    assert "x.mp4" not in methods_of(survey)
    with pytest.raises(AnaMoDiffError, match=r"for its own results .* got 3 for 'x.mp4'"):
        survey_results([file], key=survey.key)
