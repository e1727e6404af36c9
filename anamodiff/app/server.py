"""Serving the page: its folder, its address, and what it may not do."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anamodiff.app.options import AppOptions
from anamodiff.backbone.libraries import import_libraries
from anamodiff.errors import AnaMoDiffError

if TYPE_CHECKING:
    import gradio as gr

    from anamodiff.run.motion_transfer import MotionTransfer

# Read by Gradio when it is imported and when blocks are made.
_NO_REPORTS = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
SWEEP = 60  # seconds between two looks for old files
_FOLDERS = {"GRADIO_TEMP_DIR": "files", "GRADIO_EXAMPLES_CACHE": "examples-cache"}


class Server:
    """A page with a folder of its own, which goes when the page is closed; one in a process.

    Args:
        options: of the page.
        models: arguments of `MotionTransfer.load`, which happens when they are needed first.

    Raises:
        AnaMoDiffError: Gradio is not installed.
    """

    def __init__(self, options: AppOptions | None = None, **models: Any) -> None:
        self.options = options or AppOptions()
        os.environ |= _NO_REPORTS
        try:
            import gradio
        except ImportError as error:
            raise AnaMoDiffError(
                "expected the package gradio, which shows the page, got none: "
                'pip install "anamodiff[app]"'
            ) from error
        del gradio
        import_libraries()
        self.folder = Path(tempfile.mkdtemp(prefix="anamodiff-app-")).resolve()
        for variable, name in _FOLDERS.items():
            os.environ[variable] = str(self.folder / name)
        from anamodiff.app.handlers import Handlers
        from anamodiff.app.page import build_page

        self.handlers = Handlers(_loader(models), self.folder, self.options)
        self.page: gr.Blocks = build_page(self.handlers)

    def launch(self, host: str | None = None, port: int | None = None, **further: Any) -> str:
        """Serve in the background and load the models; returns the address.

        Args:
            host, port: in the place of the options'; None leaves a Space's own to Gradio.

        Raises:
            AnaMoDiffError: the port is taken, or the address is not the machine's.
        """
        import gradio as gr

        from anamodiff.app.player import CSS

        self.page.queue(max_size=self.options.queue, default_concurrency_limit=1, api_open=False)
        font = ["system-ui", "sans-serif"]
        how: dict[str, Any] = {
            "server_name": host, "server_port": port, "share": False, "quiet": True,
            "prevent_thread_lock": True, "allowed_paths": [], "ssr_mode": False, "pwa": False,
            "max_file_size": f"{self.options.max_mb}mb", "footer_links": [], "show_error": False,
            "enable_monitoring": False, "mcp_server": False, "css": CSS,
            "inbrowser": self.options.browser,
            "theme": gr.themes.Default(font=font, font_mono=["ui-monospace", "monospace"]).set(
                body_text_color_subdued="*neutral_500", block_info_text_color="*neutral_500",
                input_placeholder_color="*neutral_500",
            ),  # Gradio's own grey is too light to read
        }  # fmt: skip
        try:
            _, address, _ = self.page.launch(**how | further)
        except OSError as error:
            raise AnaMoDiffError(
                f"expected a free port on {host}, got '{error}': name another --port or --host"
            ) from error
        threading.Thread(target=lambda: self.handlers.previewer, daemon=True).start()
        return address

    def close(self) -> None:
        """Stop jobs, close the page and remove its folder."""
        self.handlers.close()
        self.page.close(verbose=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, host: str | None = None, port: int | None = None) -> None:
        """`launch`, until Ctrl-C."""
        try:
            print(f"open: {self.launch(host, port)}", flush=True)
            while True:
                time.sleep(SWEEP)
                self.handlers.sweep()
        finally:
            self.close()


def serve(options: AppOptions, **models: Any) -> None:
    """`anamodiff app`: a `Server` with these arguments, until Ctrl-C."""
    Server(options, **models).serve(options.host, options.port)


def _loader(models: dict[str, Any]) -> Callable[[], MotionTransfer]:
    def load() -> MotionTransfer:
        from anamodiff.run.motion_transfer import MotionTransfer

        return MotionTransfer.load(**models)

    return load
