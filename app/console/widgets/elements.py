"""The pieces that the console's pages are made of: words, notices, pictures, bars, and the finder.

Every text goes to the browser as text, never as markup, and without the characters that hide or turn what stands beside them; titles,
queries and reviews are strangers' words. Numbers that are put into a style are numbers. Knows of no page and of no shop.
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

_WORD = re.compile(r"\w")


def say(tag: str, words: str, classes: str = "", **props: Any) -> TextElement:
    """An element with a text in it. Args: props: attributes; an underscore in a name stands for a dash."""
    from nicegui.elements.mixins.text_element import TextElement

    element = TextElement(tag=tag, text=printable(words))
    _dressed(element, classes, props)
    return element


def box(tag: str, classes: str = "", **props: Any) -> Element:
    """An element to put others into. Args: as `say` has them."""
    from nicegui import ui

    return _dressed(ui.element(tag), classes, props)


def _dressed(element: Element, classes: str, props: dict[str, Any]) -> Element:
    # Never by the text form of props: a stranger's quotation mark would end the value there.
    element.props.update({name.rstrip("_").replace("_", "-"): value for name, value in props.items() if value is not None})
    return element.classes(classes)


def button(words: str, press: Callable[[], Any], classes: str = "button", **props: Any) -> Element:
    """A button of HTML's own. Args: press: called without arguments, may be a coroutine."""
    return say("button", words, classes, type="button", **props).on("click", press, [])


def notice(words: str, kind: str = "", *, alert: bool = False) -> Element:
    """A sentence that stands out. Args: kind: bad, note, or nothing. alert: a screen reader says it at once."""
    return say("p", words, f"notice {kind}", role="alert" if alert else None)


def blank(title: str, words: str) -> None:
    """What stands where there is nothing yet: what it will be, and what to do."""
    with box("div", "blank"):
        say("strong", title)
        say("p", words)


def bones(*heights: int) -> None:
    """Grey shapes as high (in pixels) as what will stand there, so that nothing moves when it comes."""
    with box("div", "bones", aria_hidden="true"):
        for height in heights:
            box("span").style(f"height: {height:d}px")


def picture(title: str, image: str | None, classes: str = "picture") -> None:
    """An item's picture where it has one that is fetched safely, over its initials, which stay where it does not come."""
    with box("span", classes, aria_hidden="true"):
        say("span", initials(title))
        if image and image.startswith("https://"):
            box("img", src=image, alt="", loading="lazy", referrerpolicy="no-referrer")


def initials(title: str) -> str:
    """The first letters of the first two words of a title."""
    letters = [found.group() for word in printable(title).split() if (found := _WORD.search(word))]
    return "".join(letters[:2]).upper() or "?"


def item(title: str, image: str | None, *lines: str) -> None:
    """An item in a line: picture, name, and what is to be said under it."""
    with box("div", "item"):
        picture(title, image)
        with box("div"):
            say("div", title, "name", dir="auto")
            for line in lines:
                say("div", line, "soft")


def bar(value: float, most: float, *, between: tuple[float, float] | None = None, usual: float | None = None, classes: str = "bar") -> None:
    """A bar from 0 to a value, on a scale that ends at `most`; for the eye only, the figures stand beside it.

    Args: between: its interval, drawn as a line. usual: where a dotted line stands.
    """

    def at(number: float) -> float:
        return 100 * min(max(number, 0.0), most) / most if most > 0 else 0.0

    with box("div", classes, aria_hidden="true"):
        box("span", "value").style(f"width: {at(value):.2f}%")
        if between is not None:
            low, high = at(between[0]), at(between[1])
            box("span", "between").style(f"left: {low:.2f}%; width: {max(high - low, 0.3):.2f}%")
        if usual is not None:
            box("span", "usual").style(f"left: {at(usual):.2f}%")


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """A table; the first cell of a row names it. Args: numbers: columns that are set to the right."""
    with box("div", "scroll", tabindex="0", role="region", aria_label=printable(caption)), box("table", "figures"):
        say("caption", caption, "hidden")
        with box("thead"), box("tr"):
            for column, head in enumerate(heads):
                say("th", head, "number" if column in numbers else "", scope="col")
        with box("tbody"):
            for row in rows:
                with box("tr"):
                    for column, cell in enumerate(row):
                        kind = "number" if column in numbers else ""
                        say("td", cell, kind) if column else say("th", cell, kind, scope="row", dir="auto")


def at_address(page: Element, told: Mapping[str, str]) -> None:
    """Makes a page's address say what is asked on it, so that the address can be handed on; nothing is loaded.

    Args: page: an element of it that stays; what was pressed may be gone by now.
    """
    query = f"?{urlencode(told)}" if told else ""  # what it escapes cannot end a text of JavaScript either
    page.client.run_javascript(f"history.replaceState(null, '', location.pathname + '{query}')")


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a finder offers: what it is called here, to a person, and what is said under it."""

    key: str
    words: str
    under: str = ""


def finder(label: str, search: Callable[[str], Awaitable[Sequence[Found]]], chosen: Callable[[str], Any], **props: Any) -> Element:
    """A field that offers what begins with what is typed. Args: chosen: is called with the key; may be a coroutine."""
    from nicegui import ui

    with box("div", "finder") as place:
        field = ui.input(label).props("outlined dense debounce=200 autocomplete=off")
        field.props.update({name.replace("_", "-"): value for name, value in props.items()})
        offers = box("ul", "found", aria_label="Offers")

    async def typed(text: str) -> None:
        found = await search(text.strip()) if text.strip() else []
        if place.is_deleted or (field.value or "").strip() != text.strip():
            return  # more was typed meanwhile
        offers.clear()
        offers.classes(add="some" if found or text.strip() else "", remove="" if found or text.strip() else "some")
        with offers:
            for one in found:
                with box("li"), box("button", type="button").on("click", lambda _, one=one: take(one.key), []):
                    say("span", one.words, dir="auto")
                    say("span", one.under, "soft")
            if not found and text.strip():
                say("li", "nothing begins like that", "soft small").style("padding: 8px 10px")

    async def take(key: str) -> None:
        offers.clear()
        offers.classes(remove="some")
        field.set_value("")
        with place:  # what was pressed is gone
            answer = chosen(key)
            if isinstance(answer, Awaitable):
                await answer

    field.on_value_change(lambda event: typed(event.value or ""))
    return place
