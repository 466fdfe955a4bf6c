#!/usr/bin/env python3
"""Take the screenshots of the console for the documentation (docs/console/) from the demo store.

    python scripts/screenshots.py [--llm none] [-w WORKSPACE] [--only probe]

Builds the demo store in a temporary folder unless a workspace is given, serves it, and opens it with Debian's Chromium. Probe questions are
recorded in a workspace's query audit log, so a given workspace is copied first.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import crossaisle
from crossaisle.data import demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUTPUT = Path(__file__).parents[1] / "docs" / "console"
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
MAX_BYTES = 150_000
"""Maximum size of a picture."""
COLORS = 192
"""Size of the palette: text and flat areas need no more."""


@dataclass(frozen=True)
class Screenshot:
    """One screenshot.

    Attributes:
        name: File name without its suffix.
        path: Path of the page below `/console/`.
        width: Width of the window in pixels.
        height: Height of the window in pixels.
        dark: Whether the page is dark.
        action: Interaction before the screenshot (see `interact`).
    """

    name: str
    path: str
    width: int = 1200
    height: int = 860
    dark: bool = False
    action: str = ""


SCREENSHOTS = (
    Screenshot("probe", "?q=phones"),
    Screenshot("atlas", "atlas", action="pair"),
    Screenshot("shopper", "shopper?user=s001", action="claim"),
    Screenshot("quality", "quality", height=1000),
    Screenshot("why", "shopper?user=s001", action="why", dark=True),
    Screenshot("phone", "?q=phones", width=390, height=844, dark=True),
)


@contextmanager
def running_server(workspace: Path, llm: str | None) -> Iterator[str]:
    """Serve the workspace, and yield the address of the server."""
    command = "import sys; from crossaisle.app.cli.main import main; sys.argv[0] = 'crossaisle'; main()"
    options = ["--port", "0", "--no-keys", "--timeout", "300", *(["--llm", llm] if llm else [])]
    process = subprocess.Popen([sys.executable, "-c", command, "serve", "-w", workspace, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if match := re.search(r"serving .* at (http://\S+),", line):
                url = match.group(1)
            if "startup complete" in line:
                break
        else:
            sys.exit("the server did not start")
        yield url
    finally:
        process.terminate()
        process.communicate()


def interact(page: Page, action: str) -> None:
    """Do on a page what the screenshot shows the result of."""
    if action == "pair":
        page.locator(".pair").first.click()
        page.locator(".columns .card h2").first.wait_for()
        page.mouse.move(0, 0)
        page.evaluate("window.scrollTo(0, 0)")  # the list of pairs is below the map
    elif action == "claim":
        page.locator(".claim").first.hover()
    elif action == "why":
        page.get_by_role("button", name="Why this?").first.click()
        page.get_by_role("dialog").get_by_role("heading", level=2).wait_for()


def with_palette(png: bytes) -> bytes:
    """The picture as a PNG with a palette."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Take the screenshots."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-w", "--workspace", type=Path, help="default: a new demo store")
    parser.add_argument("--llm", help="as for `crossaisle serve`")
    parser.add_argument("--only", help="name of one screenshot")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "shop"
        if arguments.workspace:
            shutil.copytree(arguments.workspace, workspace)
        else:
            crossaisle.ingest(workspace, "files", [demo.write_store(Path(folder) / "files")])
            crossaisle.index(crossaisle.Workspace(workspace), crossaisle.Settings.read())
        OUTPUT.mkdir(parents=True, exist_ok=True)
        with running_server(workspace, arguments.llm) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
            for screenshot in SCREENSHOTS:
                if arguments.only in (None, screenshot.name):
                    mode = "dark" if screenshot.dark else "light"
                    page = browser.new_page(viewport={"width": screenshot.width, "height": screenshot.height}, color_scheme=mode)
                    page.set_default_timeout(300_000)
                    page.goto(f"{url}/console/{screenshot.path}")
                    page.wait_for_function("document.querySelector('h1') && !document.querySelector('.panel.busy')")
                    interact(page, screenshot.action)
                    page.wait_for_function("!document.querySelector('.panel.busy')")
                    page.wait_for_timeout(600)
                    png = with_palette(page.screenshot())
                    if len(png) > MAX_BYTES:
                        sys.exit(f"{screenshot.name} has {len(png):,} bytes; at most {MAX_BYTES:,} are allowed")
                    (OUTPUT / f"{screenshot.name}.png").write_bytes(png)
                    print(f"{screenshot.name}.png {len(png):,} bytes")
                    page.close()
            browser.close()


if __name__ == "__main__":
    main()
