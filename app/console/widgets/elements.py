"""Building blocks of the console's pages: text, notices, pictures, bars, tables and the search field.

Titles, queries and reviews are untrusted: every text is sent as text, never as markup, and without characters that hide or reverse text.
Only numbers are put into styles. Knows nothing of pages or of the store.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ...terminal.render import printable

if TYPE_CHECKING:
    from nicegui.element import Element
    from nicegui.elements.mixins.text_element import TextElement

_WORD_CHARACTER = re.compile(r"\w")


def text_element(tag: str, text: str, classes: str = "", **props: Any) -> TextElement:
    """Create an element with a text.

    Args:
        tag: HTML tag.
        text: Text, which may be untrusted.
        classes: CSS classes.
        props: HTML attributes; an underscore in a name stands for a dash, None leaves the attribute out.
    """
    from nicegui.elements.mixins.text_element import TextElement

    element = TextElement(tag=tag, text=printable(text))
    _set_attributes(element, classes, props)
    return element


def container(tag: str, classes: str = "", **props: Any) -> Element:
    """Create an element for other elements. Arguments as in `text_element`."""
    from nicegui import ui

    return _set_attributes(ui.element(tag), classes, props)


def _set_attributes(element: Element, classes: str, props: dict[str, Any]) -> Element:
    # The string form of props is not safe: a quotation mark in an untrusted value would end the value.
    element.props.update({name.rstrip("_").replace("_", "-"): value for name, value in props.items() if value is not None})
    return element.classes(classes)


def button(label: str, on_click: Callable[[], Any], classes: str = "button", **props: Any) -> Element:
    """Create an HTML button; `on_click` takes no arguments and may be a coroutine function."""
    return text_element("button", label, classes, type="button", **props).on("click", on_click, [])


def notice(text: str, kind: str = "", *, alert: bool = False) -> Element:
    """Create a highlighted sentence.

    Args:
        text: The sentence.
        kind: "bad", "note" or empty.
        alert: Whether screen readers announce it at once.
    """
    return text_element("p", text, f"notice {kind}", role="alert" if alert else None)


def empty_state(title: str, text: str) -> None:
    """Create the placeholder of a part without content: what it will show, and what to do."""
    with container("div", "empty"):
        text_element("strong", title)
        text_element("p", text)


def skeleton_loader(*heights: int) -> None:
    """Create grey shapes with the heights (in pixels) of the expected content, so that nothing moves when it arrives."""
    with container("div", "skeleton", aria_hidden="true"):
        for height in heights:
            container("span").style(f"height: {height:d}px")


def item_picture(title: str, image: str | None, classes: str = "picture") -> None:
    """Create the picture of an item on top of its initials, which remain visible if the image is missing, not HTTPS, or fails to load."""
    with container("span", classes, aria_hidden="true"):
        text_element("span", initials(title))
        if image and image.startswith("https://"):
            container("img", src=image, alt="", loading="lazy", referrerpolicy="no-referrer")


def initials(title: str) -> str:
    """The first letters of the first two words of a title; "?" if it has no words."""
    letters = [match.group() for word in printable(title).split() if (match := _WORD_CHARACTER.search(word))]
    return "".join(letters[:2]).upper() or "?"


def item_row(title: str, image: str | None, *details: str) -> None:
    """Create an item in a row: picture, title, and details below the title."""
    with container("div", "item"):
        item_picture(title, image)
        with container("div"):
            text_element("div", title, "name", dir="auto")
            for detail in details:
                text_element("div", detail, "soft")


def bar(
    value: float, maximum: float, *, interval: tuple[float, float] | None = None, reference: float | None = None, classes: str = "bar"
) -> None:
    """Create a horizontal bar from 0 to a value. Hidden from screen readers: the numbers must be next to it as text.

    Args:
        value: Length of the bar.
        maximum: End of the scale.
        interval: Confidence interval, drawn as a line.
        reference: Position of a dotted line.
        classes: CSS classes.
    """

    def percent(number: float) -> float:
        return 100 * min(max(number, 0.0), maximum) / maximum if maximum > 0 else 0.0

    with container("div", classes, aria_hidden="true"):
        container("span", "value").style(f"width: {percent(value):.2f}%")
        if interval is not None:
            low, high = percent(interval[0]), percent(interval[1])
            container("span", "interval").style(f"left: {low:.2f}%; width: {max(high - low, 0.3):.2f}%")
        if reference is not None:
            container("span", "reference").style(f"left: {percent(reference):.2f}%")


def data_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], number_columns: Sequence[int] = ()) -> None:
    """Create a scrollable table; the first cell of a row is its heading, and `number_columns` are aligned to the right."""
    with (
        container("div", "scroll", tabindex="0", role="region", aria_label=printable(caption)),
        container("table", "data"),
    ):
        text_element("caption", caption, "hidden")
        with container("thead"), container("tr"):
            for column, heading in enumerate(headings):
                text_element("th", heading, "number" if column in number_columns else "", scope="col")
        with container("tbody"):
            for row in rows:
                with container("tr"):
                    for column, cell in enumerate(row):
                        classes = "number" if column in number_columns else ""
                        if column:
                            text_element("td", cell, classes)
                        else:
                            text_element("th", cell, classes, scope="row", dir="auto")


def copy_link_button() -> None:
    """Create a button that copies the address of the page."""
    element = text_element("button", "Copy link", "button", type="button")
    element.on("click", js_handler="(e) => window.crossaisle.copy(e.currentTarget, location.href)")


def set_query(element: Element, parameters: Mapping[str, str]) -> None:
    """Set the query string of the page's address without loading anything, so that the address links to what is shown.

    Args:
        element: An element of the page that still exists; a button that was pressed may be gone.
        parameters: Query parameters.
    """
    query = f"?{urlencode(parameters)}" if parameters else ""  # URL-encoded text cannot end a JavaScript string
    element.client.run_javascript(f"history.replaceState(null, '', location.pathname + '{query}')")


@dataclass(frozen=True, slots=True)
class SearchOption:
    """An option of a search field.

    Attributes:
        key: Value that is passed on when the option is chosen.
        label: Text of the option.
        detail: Second line, may be empty.
    """

    key: str
    label: str
    detail: str = ""


def search_field(
    label: str, search: Callable[[str], Awaitable[Sequence[SearchOption]]], on_choose: Callable[[str], Any], **props: Any
) -> Element:
    """Create a text field that suggests options while the user types.

    Args:
        label: Label of the field.
        search: Returns the options for a text.
        on_choose: Called with the key of the chosen option; may be a coroutine function.
        props: HTML attributes of the field.
    """
    from nicegui import ui

    with container("div", "finder") as element:
        field = ui.input(label).props("outlined dense debounce=200 autocomplete=off")
        field.props.update({name.replace("_", "-"): value for name, value in props.items()})
        option_list = container("ul", "options", aria_label="Suggestions")

    async def update(text: str) -> None:
        options = await search(text) if text else []
        if element.is_deleted or (field.value or "").strip() != text:
            return  # the text has changed in the meantime
        option_list.clear()
        option_list.classes(add="open" if text else "", remove="" if text else "open")
        with option_list:
            for option in options:
                with container("li"), container("button", type="button").on("click", lambda _, key=option.key: choose(key), []):
                    text_element("span", option.label, dir="auto")
                    text_element("span", option.detail, "soft")
            if not options and text:
                text_element("li", "nothing starts with this", "soft small").style("padding: 8px 10px")

    async def choose(key: str) -> None:
        option_list.clear()
        option_list.classes(remove="open")
        field.set_value("")
        with element:  # the pressed button no longer exists
            result = on_choose(key)
            if isinstance(result, Awaitable):
                await result

    field.on_value_change(lambda event: update((event.value or "").strip()))
    return element
