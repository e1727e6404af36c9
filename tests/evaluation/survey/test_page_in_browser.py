"""The survey's page in a real browser: a person can answer all of it, by mouse or keyboard."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, chromium
from survey_samples import METHODS, PAIRS, methods_of, page_data, write_results

from anamodiff.evaluation.survey.page import QUESTIONS, Survey, write_survey
from anamodiff.evaluation.survey.ranking import survey_results


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture
def survey(drawn: Path, tmp_path: Path) -> Survey:
    return write_survey(drawn, output=tmp_path / "survey")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("needs chromium or google-chrome")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "downloads").mkdir()
    with Browser(folder / "profile", folder / "downloads") as browser:
        yield browser


def begin(browser: Browser, survey: Survey) -> None:
    """Open the page as somebody who has not answered yet, on its first screen."""
    browser.open(survey.page / "index.html")
    browser("localStorage.clear()")
    browser.open(survey.page / "index.html")


def cards(browser: Browser) -> list[str]:
    """The results on the page, from left to right."""
    return browser("[...document.querySelectorAll('.card')].map(card => card.dataset.result)")


def badges(browser: Browser) -> list[str]:
    return browser("[...document.querySelectorAll('.badge')].map(badge => badge.textContent)")


def place(browser: Browser) -> str:
    return browser("document.getElementById('place').textContent")


def row(result: str, what: str, points: int) -> str:
    """The selector of one number of points."""
    return f"[data-result='{result}'] [data-what='{what}'] label:nth-of-type({points})"


def test_a_person_judges_everything_by_clicking(browser: Browser, survey: Survey) -> None:
    methods = methods_of(survey)
    wanted = {"Motion": METHODS, "Shape": METHODS[::-1]}
    browser.requests.clear()
    begin(browser, survey)
    browser.click("#begin")
    for part, order in wanted.items():
        for number in range(1, len(PAIRS) + 1):
            assert place(browser) == f"{part} · pair {number} of {len(PAIRS)}"
            results = sorted(cards(browser), key=lambda name: order.index(methods[name]))
            for result in results:
                assert browser("document.getElementById('next').disabled")
                browser.click(f"[data-result='{result}'] .pick")
            if number == 2:  # all is kept when the page is opened again
                browser.open(survey.page / "index.html")
            assert sorted(badges(browser)) == ["1", "2", "3"]
            browser.click("#next")
    points = {"motion": dict(zip(METHODS, (5, 3, 1), strict=True))}
    points["appearance"] = dict(zip(METHODS, (2, 4, 4), strict=True))
    for number in range(1, len(PAIRS) + 1):
        assert place(browser) == f"Points · pair {number} of {len(PAIRS)}"
        for result in cards(browser):
            for what, given in points.items():
                assert browser("document.getElementById('next').disabled")
                browser.click(row(result, what, given[methods[result]]))
        if number == 2:
            browser.open(survey.page / "index.html")
        assert browser("document.querySelectorAll('input:checked').length") == 6
        browser.click("#next")
    browser.click("#save")
    path = wait_for_file(browser.downloads)
    found = survey_results([path], key=survey.key)
    assert (found.people, found.rankings) == (1, len(PAIRS))
    for question, order in zip(QUESTIONS, wanted.values(), strict=True):
        ranks = {method: rank for rank, method in enumerate(order, start=1)}
        assert found.questions[question].mean_ranks == ranks
    for what, given in points.items():
        assert {name: one.mean for name, one in found.ratings[what].items()} == given
    inside = survey.page.resolve().as_uri()
    loaded = [url for url in browser.requests if not url.startswith("blob:")]
    assert loaded and all(url.startswith(inside) for url in loaded)
    assert not browser.errors


def wait_for_file(folder: Path) -> Path:
    """The saved file, complete; the browser writes it under another name first."""
    for _ in range(500):
        if found := list(folder.glob("answers-*.json")):
            return found[0]
        time.sleep(0.02)
    raise TimeoutError("no file was saved")


def test_ranks_stay_distinct_and_can_be_changed(browser: Browser, survey: Survey) -> None:
    begin(browser, survey)
    browser.click("#begin")
    card = "li:nth-child({}) {}".format
    for number in (1, 2, 3):
        browser.click(card(number, ".pick"))
    assert badges(browser) == ["1", "2", "3"]
    browser.click(card(1, ".ranks button:nth-of-type(3)"))
    assert badges(browser) == ["3", "2", "1"], "who had the rank takes the other's"
    browser.click(card(2, ".pick"))
    assert badges(browser) == ["3", "", "1"]
    assert browser("document.getElementById('next').disabled")
    browser.click(card(2, ".ranks button:nth-of-type(1)"))
    assert badges(browser) == ["3", "1", ""], "who had no rank takes it from the other"
    browser.click("#clear")
    assert badges(browser) == ["", "", ""]
    browser.click("#back")
    browser.click("#begin")
    assert place(browser).startswith("Motion · pair 1"), "nobody gets past an open ranking"


def test_the_keyboard_is_enough(browser: Browser, survey: Survey) -> None:
    begin(browser, survey)
    browser.press("Tab")
    browser.press("Enter", "\r")
    browser.wait("document.querySelectorAll('.card').length == 3")
    browser.press("Tab")
    browser.press("3", "3")
    assert badges(browser) == ["3", "", ""]
    for _ in range(4):  # past the three numbers, to the next clip
        browser.press("Tab")
    browser.press("Enter", "\r")
    assert badges(browser) == ["3", "1", ""]
    label = "document.querySelector('li:nth-child(2) .pick').getAttribute('aria-label')"
    assert browser(label) == "Result B: rank 1"


@pytest.fixture
def rating(drawn: Path, tmp_path: Path) -> Survey:
    """A survey of one pair that asks for ratings alone."""
    return write_survey(drawn, output=tmp_path / "rating", pairs=1, ask="rating")


def test_points_by_the_keyboard(browser: Browser, rating: Survey) -> None:
    begin(browser, rating)
    assert "rank" not in browser("document.body.innerText").lower()
    browser.click("#begin")
    assert place(browser) == "Points · pair 1 of 1"
    chosen = "[...document.querySelectorAll('input:checked')].map(one => one.value)"
    for digit in "412345":
        browser.press("Tab")
        browser.press(digit, digit)
    assert browser(chosen) == list("412345"), "Tab goes from row to row"
    assert not browser("document.getElementById('next').disabled")
    assert browser("document.activeElement.getAttribute('aria-label')") == "5, excellent"
    browser.click("#clear")
    assert browser(chosen) == []
    assert browser("document.getElementById('next').disabled")
    browser.click("#back")
    browser.click("#begin")
    assert place(browser).startswith("Points"), "nobody gets past open rows"
    assert not browser.errors


def test_each_person_begins_the_row_elsewhere(browser: Browser, survey: Survey) -> None:
    begin(browser, survey)
    browser.click("#begin")
    rows = []
    for turn in range(3):
        browser(f"state.turn = {turn}, show()")
        rows.append(cards(browser))
    assert rows[0] == page_data(survey)["pairs"][0]["motion"]
    assert rows[1] == [*rows[0][1:], rows[0][0]]
    assert {row[0] for row in rows} == set(rows[0])


def test_clips_play_or_say_that_they_cannot(browser: Browser, survey: Survey) -> None:
    if not browser(
        "document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.64000a\"')"
    ):
        pytest.skip("this browser plays no H.264")
    broken = page_data(survey)["pairs"][0]["driving"]
    (survey.page / "videos" / broken).write_bytes(b"no video")
    begin(browser, survey)
    browser.click("#begin")
    browser.wait("document.querySelectorAll('.broken').length == 1")
    browser.wait("[...document.querySelectorAll('video')].every(v => v.currentTime > 0.2)")
    switches = "v => v.muted && v.loop && v.autoplay && v.playsInline && !v.controls"
    assert browser(f"[...document.querySelectorAll('video')].every({switches})")
    for number in (1, 2, 3):
        browser.click(f"li:nth-child({number}) .pick")
    assert browser("document.getElementById('next').disabled"), (
        "a clip that nobody saw cannot be ranked"
    )
    assert "try another one" in browser("document.getElementById('status').textContent")
    assert browser("document.querySelector('.broken').textContent") == (
        "Driving motion clip cannot be played"
    )
