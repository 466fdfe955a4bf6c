"""The console: four pages for a marketer, on the same app and the same shop as the API.

    create(shop, Options(console=attach))        # see `service`

The pages stand under `/console/`, so that whatever is not there stays the API's to answer. All that a page loads comes from this process.
A process has one console: the framework behind it keeps its pages for the whole process.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from .widgets.async_panel import Counter
from .widgets.elements import box, say
from .widgets.styles import ACCENT, ICON, STYLE

if TYPE_CHECKING:
    from fastapi import FastAPI
    from nicegui.element import Element

    from ..api.state import AppState
    from ..service.store_service import StoreService

HOME = "/console/"
PAGES = (("Probe", "./"), ("Atlas", "./atlas"), ("Shopper", "./shopper"), ("Quality", "./quality"))
THEME = "crossaisle_theme"
"""The cookie that remembers light or dark, where somebody chose it."""
_SCRIPT = f"""<script>
window.crossaisle = {{
  turn() {{
    const dark = !document.body.classList.contains("body--dark");
    setDark(dark);
    document.cookie = "{THEME}=" + (dark ? "dark" : "light") + "; path={HOME}; max-age=31536000; samesite=strict";
    emitEvent("crossaisle_theme", dark);
  }},
  async copy(button, text) {{
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {{  // without HTTPS a browser has no clipboard to write to, but a selection can be copied
      const field = Object.assign(document.createElement("textarea"), {{ value: text }});
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }}
    const words = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => button.textContent = words, 1500);
  }},
}};
addEventListener("DOMContentLoaded", () => {{  // by then the framework has chosen by the system
  const kept = document.cookie.match(/{THEME}=(dark|light)/);
  if (kept) setDark(kept[1] === "dark");
}});
</script>"""


def attach(app: FastAPI, shop: StoreService) -> None:
    """Puts the console of a shop on its app, which `service.create` makes. To be called once in a process."""
    from fastapi.responses import RedirectResponse
    from nicegui import ui

    from .pages.category_map import atlas_page
    from .pages.probe import probe_page
    from .pages.quality import quality_page
    from .pages.shopper import shopper_page

    state: AppState = app.state.crossaisle
    counter = Counter(shop, state.answer_pool, state.options.timeout)

    @app.get("/", include_in_schema=False)
    @app.get(HOME.rstrip("/"), include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse(HOME, status_code=307)

    def page(path: str, name: str, draw: Callable[[Counter], None]) -> None:
        @ui.page(path, title=f"{name} · crossaisle")
        def drawn() -> None:
            with frame(name, out=state.options.api_keys is not None):
                draw(counter)

    # The framework looks at every object of the process once to find its server, and torch warns of an old name of its own when looked at.
    warnings.filterwarnings("ignore", "`torch.distributed.reduce_op` is deprecated", FutureWarning)
    page("/", "Probe", probe_page)
    page("/atlas", "Atlas", atlas_page)
    page("/shopper", "Shopper", shopper_page)
    page("/quality", "Quality", quality_page)
    ui.run_with(
        app,
        mount_path=HOME.rstrip("/"),
        title="crossaisle",
        favicon=ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )


def frame(here: str, *, out: bool) -> Element:
    """What stands around every page; the element for what stands in it.

    Args: here: its name. out: whether there is something to log out from.
    """
    from nicegui import ui

    ui.colors(primary=ACCENT)
    ui.add_css(STYLE)
    ui.add_head_html(_SCRIPT)
    with ui.header(fixed=False).classes("top"), box("div", "inner"):
        with box("a", "brand", href="./", aria_label="crossaisle, to the first page"):
            ui.html(ICON, sanitize=False)  # ours, and constant
            say("span", "crossaisle")
        with box("nav", "pages", aria_label="Pages"):
            for name, address in PAGES:
                say("a", name, href=address, aria_current="page" if name == here else None)
        with box("div", "end"):
            turn = say("button", "Light or dark", "button slight", type="button")
            turn.on("click", js_handler="() => window.crossaisle.turn()")
            if out:
                say("a", "Log out", "button slight", href="/logout")
    inside = box("div")
    ui.skip_link("Skip to the content", target=inside)
    return inside
