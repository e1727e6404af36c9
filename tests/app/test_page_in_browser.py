"""The page in a headless browser, from clips to downloads, with the embedded backbone."""

import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, chromium

from anamodiff.app.job import THREAD
from anamodiff.app.options import AppOptions
from anamodiff.app.server import Server
from anamodiff.run.examples import write_examples
from anamodiff.video.clip import read_clip

pytest.importorskip("gradio", reason="needs the extra app", exc_type=ImportError)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium or Chrome"),
]
PATIENCE = 120  # seconds for what computes; a busy machine is slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    before = dict(os.environ)
    server = Server(
        AppOptions(max_megapixels=0.5), backbone="mini", device="cpu", precision="fp32", size=128
    )
    yield server.launch("127.0.0.1")
    server.close()
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = write_examples(tmp_path_factory.mktemp("clips")).folder
    return folder / "turtle.gif", folder / "camel-walks.mp4"


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "downloads").mkdir()
    with Browser(folder / "profile", folder / "downloads") as one:
        one.resize(1280, 1000)
        one.open(address)
        one.wait("document.querySelector('#source')?.getAttribute('role') == 'group'")
        yield one


FILMS = "document.querySelectorAll('#{} .am-film').length"
STRIP = "document.querySelector('#preview figure:nth-child(6) img')?.src"


def write(browser: Browser, selector: str, value: str) -> None:
    """Type into a field that may hold something, and leave it."""
    browser(f"document.querySelector({json.dumps(selector)}).select()")
    browser.click(selector)
    browser(f"document.querySelector({json.dumps(selector)}).select()")
    browser.call("Input.insertText", text=value)
    browser.press("Tab")


def text(browser: Browser, name: str) -> str:
    return browser(f"document.querySelector('#{name}').innerText")


def open_more(browser: Browser) -> None:
    """Unfold the further settings, unless a test before did."""
    there = "!!document.querySelector('#iterations input, #iterations textarea')"
    if not browser(there):
        browser.click("#more > button")
        browser.wait(there)


def test_clips_and_settings_show_a_preview(
    browser: Browser, clips: tuple[Path, Path], address: str
) -> None:
    browser.upload("#source input[type=file]", clips[0])
    browser.wait("document.querySelector('#preview').innerText.includes('driving clip, too')", 30)
    browser.upload("#driving input[type=file]", clips[1])
    browser.wait(f"{FILMS.format('preview')} == 6", PATIENCE)
    assert "retargeted skeleton" in text(browser, "preview")
    first = browser(STRIP)
    browser.click("#pose label:nth-of-type(3) input")
    browser.wait("document.querySelector('#preview').innerText.includes('key points')", PATIENCE)
    assert browser(STRIP) != first
    browser.click("#pose label:nth-of-type(1) input")
    browser.wait(f"{STRIP} == {json.dumps(first)}", PATIENCE)
    browser("document.querySelector('#motion-scale input[type=range]').focus()")
    for _ in range(8):
        browser.press("ArrowLeft")
    browser.wait(f"{STRIP} != {json.dumps(first)}", PATIENCE)
    elsewhere = [url for url in browser.requests if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == [], "nothing is fetched from anywhere else"


def test_one_slider_moves_all_clips(browser: Browser) -> None:
    if "Pause" in text(browser, "preview"):
        browser.click("#preview .am-time button")
    browser(
        "(() => { const range = document.querySelector('#preview input[type=range]');"
        "range.value = 4; range.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    at = browser(
        "[...document.querySelectorAll('#preview .am-film')].map(f => "
        "Number(f.style.getPropertyValue('--at')) + '/' + f.dataset.frames)"
    )
    assert at == ["4/10"] * 6 and "frame 5 of 10" in text(browser, "preview")


def test_every_field_has_a_name_and_the_keyboard_reaches_it(browser: Browser) -> None:
    unnamed = browser(
        "[...document.querySelectorAll('.gradio-container :is(input, button, textarea)')]"
        ".filter(e => !(e.getAttribute('aria-label') || e.labels?.[0]?.innerText.trim()"
        " || e.innerText.trim() || e.title)).map(e => e.outerHTML.slice(0, 120))"
    )
    assert unnamed == []
    browser("document.querySelector('#example-0').focus()")
    reached = set()
    for _ in range(40):
        browser.press("Tab")
        reached.add(browser("document.activeElement.closest('[id]')?.id ?? ''"))
    assert {"run", "more"} <= {name for name in reached}, reached


def test_a_run_shows_its_progress_and_is_taken_home(browser: Browser) -> None:
    write(browser, "#prompt input, #prompt textarea", "a green turtle")
    open_more(browser)
    write(browser, "#iterations input, #iterations textarea", "3")
    write(browser, "#steps input, #steps textarea", "6")
    browser.click("#run")
    seen: list[str] = []
    end = time.monotonic() + PATIENCE
    while "Done" not in "".join(seen[-1:]):
        assert time.monotonic() < end, seen
        now = text(browser, "status") + text(browser, "result")
        seen += [now] if now not in seen[-1:] else []
        time.sleep(0.1)
    told = "\n".join(seen)
    assert "Tuning: iteration" in told and "s left" in told and "after step" in told
    browser.wait(f"{FILMS.format('result')} == 4")
    assert "result" in text(browser, "result")
    for name, file in (
        ("mp4", "result.mp4"), ("webm", "result.webm"), ("frames", "frames.zip"),
        ("lora", "pytorch_lora_weights.safetensors"),
    ):  # fmt: skip
        browser.click(f"#get-{name}")
        path = browser.downloads / file
        end = time.monotonic() + 20
        while not path.is_file():
            assert time.monotonic() < end, f"{file} was not saved"
            browser("0")
            time.sleep(0.1)
    assert read_clip(browser.downloads / "result.mp4", frames=None).total == 10
    assert len(zipfile.ZipFile(browser.downloads / "frames.zip").namelist()) == 10


def test_cancel_stops_a_run_and_the_next_one_may_begin(browser: Browser) -> None:
    write(browser, "#iterations input, #iterations textarea", "1000")
    browser.click("#run")
    browser.wait("document.querySelector('#status').innerText.includes('of 1000')", PATIENCE)
    browser.wait("!document.querySelector('#cancel').disabled")
    assert THREAD in [thread.name for thread in threading.enumerate()]
    browser.click("#cancel")
    browser.wait("document.querySelector('#status').innerText.includes('Cancelled')", 30)
    browser.wait(
        "!document.querySelector('#run').disabled && document.querySelector('#cancel').disabled"
    )
    end = time.monotonic() + 30
    while THREAD in [thread.name for thread in threading.enumerate()]:
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.1)
    before = browser(STRIP)
    browser.click("#pose label:nth-of-type(3) input")
    browser.wait(f"{STRIP} != {json.dumps(before)}", PATIENCE)


def test_mistakes_are_one_line(browser: Browser, tmp_path: Path) -> None:
    open_more(browser)
    write(browser, "#steps input, #steps textarea", "many")
    browser.click("#run")
    browser.wait(
        "document.querySelector('#status').innerText.includes('generation.steps: expected')"
    )
    assert "Traceback" not in browser("document.body.innerText")
    browser.wait("!document.querySelector('#run').disabled")
    assert not browser.errors
