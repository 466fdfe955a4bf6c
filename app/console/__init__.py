"""Web console for marketers: four pages in the same ASGI app, and on the same store service, as the HTTP API.

    create(store, ServerOptions(console=attach))        # see `app.api.application`

All pages are below `/console/`; the API answers every other path. Everything that a page loads comes from this process. Attach one console
per process: NiceGUI keeps its pages for the lifetime of the process.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...data.store_words import DEFAULT_WORDS, StoreWords
from .widgets.async_panel import ConsoleBackend
from .widgets.elements import container, text_element
from .widgets.styles import ACCENT, ICON, STYLE

if TYPE_CHECKING:
    from fastapi import FastAPI
    from nicegui.element import Element

    from ..api.state import AppState
    from ..service.store_service import StoreService

CONSOLE_PATH = "/console/"
PAGES = (("Probe", "./"), ("Atlas", "./atlas"), ("Shopper", "./shopper"), ("Quality", "./quality"))
"""Name and relative address of each page."""
THEME_COOKIE = "crossaisle_theme"
"""Cookie with the theme that the user chose, light or dark."""
_SCRIPT = f"""<script>
window.crossaisle = {{
  toggleTheme() {{
    const dark = !document.body.classList.contains("body--dark");
    setDark(dark);
    document.cookie = "{THEME_COOKIE}=" + (dark ? "dark" : "light") + "; path={CONSOLE_PATH}; max-age=31536000; samesite=strict";
    emitEvent("crossaisle_theme", dark);
  }},
  async copy(button, text) {{
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {{  // without HTTPS there is no clipboard API, but a selection can be copied
      const field = Object.assign(document.createElement("textarea"), {{ value: text }});
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }}
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => button.textContent = label, 1500);
  }},
}};
addEventListener("DOMContentLoaded", () => {{  // after NiceGUI has applied the theme of the system
  const chosen = document.cookie.match(/{THEME_COOKIE}=(dark|light)/);
  if (chosen) setDark(chosen[1] === "dark");
}});
</script>"""


def attach(app: FastAPI, store: StoreService) -> None:
    """Add the console of a store to the app that `create` returns. Call it once per process."""
    from fastapi.responses import RedirectResponse
    from nicegui import ui

    from .pages.category_map import category_map_page
    from .pages.probe import probe_page
    from .pages.quality import quality_page
    from .pages.shopper import shopper_page

    state: AppState = app.state.crossaisle
    backend = ConsoleBackend(store, state.answer_pool, state.options.timeout)

    @app.get("/", include_in_schema=False)
    @app.get(CONSOLE_PATH.rstrip("/"), include_in_schema=False)
    def redirect_to_console() -> RedirectResponse:
        return RedirectResponse(CONSOLE_PATH, status_code=307)

    def add_page(path: str, name: str, draw: Callable[[ConsoleBackend], None], title: str | None = None) -> None:
        @ui.page(path, title=f"{title or name} · crossaisle")
        def page() -> None:
            with page_frame(name, has_login=state.options.api_keys is not None, words=backend.words):
                draw(backend)

    # NiceGUI inspects every object of the process once to find its server, and torch warns about a deprecated name when it is inspected.
    warnings.filterwarnings("ignore", "`torch.distributed.reduce_op` is deprecated", FutureWarning)
    add_page("/", "Probe", probe_page)
    add_page("/atlas", "Atlas", category_map_page)
    add_page("/shopper", "Shopper", shopper_page, backend.words.fill("{User}"))
    add_page("/quality", "Quality", quality_page)
    ui.run_with(
        app,
        mount_path=CONSOLE_PATH.rstrip("/"),
        title="crossaisle",
        favicon=ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )


def page_frame(current: str, *, has_login: bool, words: StoreWords = DEFAULT_WORDS) -> Element:
    """Create the header of a page, and return the element for its content.

    Args:
        current: Name of the page.
        has_login: Whether there is a login, and so a link to log out.
        words: The store's words; the page about one of its users is named with its noun.
    """
    from nicegui import ui

    ui.colors(primary=ACCENT)
    ui.add_css(STYLE)
    ui.add_head_html(_SCRIPT)
    with ui.header(fixed=False).classes("top"), container("div", "inner"):
        with container("a", "brand", href="./", aria_label="crossaisle, to the first page"):
            ui.html(ICON, sanitize=False)  # a constant of this package
            text_element("span", "crossaisle")
        with container("nav", "pages", aria_label="Pages"):
            for name, address in PAGES:
                label = words.fill("{User}") if name == "Shopper" else name
                text_element("a", label, href=address, aria_current="page" if name == current else None)
        with container("div", "end"):
            theme = text_element("button", "Light or dark", "button slight", type="button")
            theme.on("click", js_handler="() => window.crossaisle.toggleTheme()")
            if has_login:
                text_element("a", "Log out", "button slight", href="/logout")
    content = container("div")
    ui.skip_link("Skip to the content", target=content)
    return content
