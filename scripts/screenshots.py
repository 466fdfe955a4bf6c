#!/usr/bin/env python3
"""Takes the pictures of the console for the documentation, of the demo store, into docs/console/.

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

OUT = Path(__file__).parents[1] / "docs" / "console"
CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
MOST = 150_000
"""Bytes of a picture."""
COLORS = 192
"""Of a picture's palette: text and flat areas need no more."""


@dataclass(frozen=True)
class Picture:
    """One picture. Args: path: of the page. act: what is done on it first."""

    name: str
    path: str
    width: int = 1200
    height: int = 860
    dark: bool = False
    act: str = ""


PICTURES = (
    Picture("probe", "?q=phones"),
    Picture("atlas", "atlas", act="pair"),
    Picture("shopper", "shopper?user=s001", act="claim"),
    Picture("quality", "quality", height=1000),
    Picture("why", "shopper?user=s001", act="why", dark=True),
    Picture("phone", "?q=phones", width=390, height=844, dark=True),
)


@contextmanager
def served(workspace: Path, llm: str | None) -> Iterator[str]:
    """The address of the workspace's service, while it runs."""
    command = "import sys; from crossaisle.app.cli.main import main; sys.argv[0] = 'crossaisle'; main()"
    options = ["--port", "0", "--no-keys", "--timeout", "300", *(["--llm", llm] if llm else [])]
    process = subprocess.Popen([sys.executable, "-c", command, "serve", "-w", workspace, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if found := re.search(r"serving .* at (http://\S+),", line):
                url = found.group(1)
            if "startup complete" in line:
                break
        else:
            sys.exit("the service did not start")
        yield url
    finally:
        process.terminate()
        process.communicate()


def acted(page: Page, act: str) -> None:
    """Does on a page what the picture shows the outcome of."""
    if act == "pair":
        page.locator(".pair").first.click()
        page.locator(".beside .card h2").first.wait_for()
        page.mouse.move(0, 0)
        page.evaluate("window.scrollTo(0, 0)")  # the list of pairs is below the map
    elif act == "claim":
        page.locator(".claim").first.hover()
    elif act == "why":
        page.get_by_role("button", name="Why this?").first.click()
        page.get_by_role("dialog").get_by_role("heading", level=2).wait_for()


def small(png: bytes) -> bytes:
    """A picture with a palette."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Takes the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-w", "--workspace", type=Path, help="default: a new demo store")
    parser.add_argument("--llm", help="as `crossaisle serve` has it")
    parser.add_argument("--only", help="the name of one picture")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        if given.workspace:
            shutil.copytree(given.workspace, shop)
        else:
            crossaisle.ingest(shop, "files", [demo.write_store(Path(folder) / "files")])
            crossaisle.index(crossaisle.Workspace(shop), crossaisle.Settings.read())
        OUT.mkdir(parents=True, exist_ok=True)
        with served(shop, given.llm) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
            for one in PICTURES:
                if given.only in (None, one.name):
                    mode = "dark" if one.dark else "light"
                    page = browser.new_page(viewport={"width": one.width, "height": one.height}, color_scheme=mode)
                    page.set_default_timeout(300_000)
                    page.goto(f"{url}/console/{one.path}")
                    page.wait_for_function("document.querySelector('h1') && !document.querySelector('.place.busy')")
                    acted(page, one.act)
                    page.wait_for_function("!document.querySelector('.place.busy')")
                    page.wait_for_timeout(600)
                    png = small(page.screenshot())
                    if len(png) > MOST:
                        sys.exit(f"{one.name} has {len(png):,} bytes; at most {MOST:,} are wanted")
                    (OUT / f"{one.name}.png").write_bytes(png)
                    print(f"{one.name}.png {len(png):,} bytes")
                    page.close()
            browser.close()


if __name__ == "__main__":
    main()
