"""A headless Chromium, controlled through the DevTools protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 30  # to wait for the browser; a busy machine is slow to start it


def chromium() -> str | None:
    """The path of an installed browser, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One browser with one page.

    Args:
        profile: folder of the browser's profile, which a later one may use again.
        downloads: folder for saved files.
    """

    def __init__(self, profile: Path, downloads: Path, size: tuple[int, int] = (1280, 900)) -> None:
        self.downloads = downloads
        out, self._write = os.pipe()
        self._read, back = os.pipe()
        words = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--mute-audio", "--remote-debugging-pipe",
            f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        # The browser reads from 3 and writes to 4; a shell puts our pipes there.
        script = f'exec 8<&{out} 9>&{back}; exec "$@" 3<&8 4>&9'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(chromium()), *words],
            pass_fds=(out, back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(out)
        os.close(back)
        self._number, self._buffer, self._session = 0, b"", None
        self.requests: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = session["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        """Close the browser in its own time, so that its profile is written."""
        try:
            self._session = None
            self.call("Browser.close")
        except (OSError, TimeoutError):
            pass
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send one command and wait for its reply; events that come first are recorded."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self._number:
            self._record(reply)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("no reply from the browser")
            piece = os.read(self._read, 1 << 16)
            if not piece:
                raise OSError("the browser has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _record(self, event: dict[str, Any]) -> None:
        name, found = event.get("method"), event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        elif name == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(found["exceptionDetails"]))
        elif name == "Log.entryAdded" and found["entry"]["level"] == "error":
            self.errors.append(found["entry"]["text"])

    def open(self, page: Path | str) -> None:
        """Load a page from the disk, or from an address."""
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        # The page before it is complete too, and may be the same one.
        self.wait(
            "document.readyState == 'complete' && !window.old && !!document.querySelector('h1')"
        )
        self("window.old = true")

    def __call__(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"never came true: {expression}")
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of an element."""
        x, y = self(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, text: str | None = None) -> None:
        """Press a key such as "Tab", or "Enter" with the text that it types."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        code = codes.get(key, ord(key[0]))
        typed = {"text": text} if text else {}
        down = {"type": "keyDown" if text else "rawKeyDown", "key": key, **typed}
        self.call("Input.dispatchKeyEvent", **down, windowsVirtualKeyCode=code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def upload(self, selector: str, *files: Path) -> None:
        """Choose files in a page's file input."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def resize(self, width: int, height: int) -> None:
        """Give the page another size, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip

    def picture(self, file: Path, whole: bool = True) -> Path:
        """Write a PNG of the page, or of what is in view."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))
        return file
