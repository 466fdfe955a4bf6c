"""Why an item is recommended to a shopper, or why not, over the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....recommend.attribution.counterfactuals import ordinal
from ...schemas.requests import WhyRequest
from ..widgets.elements import box, button, notice, say, table

if TYPE_CHECKING:
    from ..widgets.async_panel import Counter

CHANNELS = {
    "semantic": "alike in meaning",
    "associations": "had together",
    "sequential": "had soon after",
    "item_knn": "near the whole history",
    "co_occurrence": "had by the same shoppers",
    "text_smoothed": "goes with what reads alike",
    "lately": "had of late",
    "factors": "shoppers of this taste",
    "graph": "network of shoppers",
    "complements": "learned complements",
    "popularity": "had by many",
    "llm": "language model",
    "profile": "profile",
}


class Sheet:
    """The sheet of one page; it answers one question at a time."""

    def __init__(self, counter: Counter) -> None:
        from nicegui import ui

        from ..widgets.async_panel import Place

        self.counter = counter
        with ui.dialog() as self.dialog, box("div", "sheet"):
            self.dialog.props["aria-label"] = "Why, or why not"
            with box("div", "row-apart").style("margin-bottom: 10px"):
                say("p", "Why, or why not", "soft small")
                button("Close", self.dialog.close, "button slight")
            self.place = Place(counter, 60, 120, 160)

    async def ask(self, asked: WhyRequest) -> None:
        """Opens the sheet and fills it."""
        self.dialog.open()
        await self.place.fill(lambda: self._found(asked), lambda found: self._draw(*found))

    def _found(self, asked: WhyRequest) -> tuple[dict[str, Any], str | None]:
        found = self.counter.shop.why(asked)
        behind = self.counter.items([found["behind"]]).get(found["behind"]) if found["behind"] else None
        return found, (behind.title or behind.item_id) if behind else None

    def _draw(self, found: Mapping[str, Any], behind: str | None) -> None:
        with box("div", "stack"):
            with box("div"):
                say("h2", found["title"] or found["item_id"], dir="auto")
                say("p", " › ".join(found["category"]), "soft small", dir="auto")
            notice(verdict(found), "note" if found["rank"] else "bad")
            if behind:
                say("p", f"Behind it stands: {behind}.")
            changes = [one["sentence"] for one in found["counterfactuals"]]
            if changes or found["notes"]:
                with box("div"):
                    say("h3", "What would change it")
                    with box("ul").style("margin-top: 4px"):
                        for sentence in (*changes, *found["notes"]):
                            say("li", f"{sentence[:1].upper()}{sentence[1:]}.").style("padding: 3px 0")
            rows = [
                [CHANNELS.get(name, name), f"{one['score']:.3g}" if one["score"] else "–", ordinal(one["rank"]) if one["rank"] else "–"]
                + ([f"{one['adds']:+.2f}" if one["adds"] is not None else "–"] if found["features"] else [])
                for name, one in found["channels"].items()
            ]
            if rows:
                with box("div"):
                    say("h3", "Where it stands")
                    heads = ["by", "score", "place", *(["adds"] if found["features"] else [])]
                    table("Where the item stands in each channel", heads, rows, numbers=(1, 2, 3))
            if found["features"]:
                with box("div"):
                    say("h3", "What its score is made of")
                    told = [[one["words"], one["reads"], f"{one['adds']:+.2f}"] for one in found["features"]["strongest"]]
                    told.append([f"{found['features']['others']} others together", "", f"{found['features']['rest']:+.2f}"])
                    table("What the score is made of", ["feature", "value", "adds"], told, numbers=(1, 2))
            say("p", f"Ordered: {found['blend']}.", "soft small")


def verdict(found: Mapping[str, Any]) -> str:
    """What was decided, in a sentence."""
    if found["left_out"]:
        return f"Not recommended: {' and '.join(found['removed_by'])}."
    if found["rank"] is None:
        return f"Not recommended: no channel has it among its best; {found['of']:,} other candidates were ordered."
    return f"It is the {ordinal(found['rank'])} of {found['of']:,} candidates."
