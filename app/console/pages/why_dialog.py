"""Dialog that explains why an item is or is not recommended to a shopper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....recommend.attribution.counterfactuals import ordinal
from ...schemas.requests import WhyRequest
from ..widgets.elements import button, container, data_table, notice, text_element

if TYPE_CHECKING:
    from ....data.store_words import StoreWords
    from ..widgets.async_panel import ConsoleBackend

CHANNEL_LABELS = {
    "semantic": "similar in meaning",
    "associations": "{participle} together",
    "relations": "declared by the store",
    "sequential": "{participle} soon after",
    "item_knn": "goes with the {items} of the history",
    "co_occurrence": "{participle} by the same {users}",
    "text_smoothed": "goes with similar {items}",
    "lately": "popular lately",
    "user_knn": "{users} with similar baskets",
    "random_walk": "found along other {users}' {purchases}",
    "item_regression": "follows from the history as a whole",
    "category_popularity": "popular where such {users} {base}",
    "factors": "{users} with similar taste",
    "graph": "network of {users}",
    "complements": "learned complements",
    "text_behaviour": "goes with the {items} nearest to the text",
    "popularity": "popular",
    "llm": "language model",
    "profile": "profile",
}
"""Channel to its label, a template for `StoreWords.fill`."""
OTHER_LABELS = {
    "user_knn": "{users} with similar histories",
    "random_walk": "found along what other {users} {past}",
    "category_popularity": "popular in the categories of such {users}",
}
"""Labels of channels where the store has its own verb."""


class WhyDialog:
    """The dialog of one page; it shows one item at a time."""

    def __init__(self, backend: ConsoleBackend) -> None:
        """Create the closed dialog."""
        from nicegui import ui

        from ..widgets.async_panel import AsyncPanel

        self.backend = backend
        with ui.dialog() as self.dialog, container("div", "why-dialog"):
            self.dialog.props["aria-label"] = "Why, or why not"
            with container("div", "row-spread").style("margin-bottom: 10px"):
                text_element("p", "Why, or why not", "soft small")
                button("Close", self.dialog.close, "button slight")
            self.panel = AsyncPanel(backend, 60, 120, 160)

    async def open(self, request: WhyRequest) -> None:
        """Open the dialog and explain an item."""
        self.dialog.open()
        await self.panel.fill(lambda: self._load(request), lambda result: self._draw(*result))

    def _load(self, request: WhyRequest) -> tuple[dict[str, Any], str | None]:
        """The explanation, and the title of the history item that the recommendation is based on."""
        why = self.backend.store.why(request)
        anchor = self.backend.items([why["behind"]]).get(why["behind"]) if why["behind"] else None
        return why, (anchor.title or anchor.item_id) if anchor else None

    def _draw(self, why: Mapping[str, Any], anchor: str | None) -> None:
        with container("div", "stack"):
            with container("div"):
                text_element("h2", why["title"] or why["item_id"], dir="auto")
                text_element("p", " › ".join(why["category"]), "soft small", dir="auto")
            notice(verdict_sentence(why), "note" if why["rank"] else "bad")
            if anchor:
                text_element("p", f"Based on: {anchor}.")
            sentences = [*(change["sentence"] for change in why["counterfactuals"]), *why["notes"]]
            if sentences:
                with container("div"):
                    text_element("h3", "What would change it")
                    with container("ul").style("margin-top: 4px"):
                        for sentence in sentences:
                            text_element("li", f"{sentence[:1].upper()}{sentence[1:]}.").style("padding: 3px 0")
            if why["channels"]:
                _draw_channels(why["channels"], self.backend.words, has_contributions=bool(why["features"]))
            if why["features"]:
                _draw_features(why["features"])
            text_element("p", f"Ranking: {why['blend']}.", "soft small")


def channel_label(name: str, words: StoreWords) -> str:
    """What a channel measures, in the store's words; its name for an unknown one."""
    labels = CHANNEL_LABELS if words.verb is None else {**CHANNEL_LABELS, **OTHER_LABELS}
    return words.fill(labels[name]) if name in labels else name


def _draw_channels(channels: Mapping[str, Mapping[str, Any]], words: StoreWords, *, has_contributions: bool) -> None:
    rows = []
    for name, channel in channels.items():
        score, rank = f"{channel['score']:.3g}" if channel["score"] else "–", ordinal(channel["rank"]) if channel["rank"] else "–"
        contribution = f"{channel['adds']:+.2f}" if channel["adds"] is not None else "–"
        rows.append([channel_label(name, words), score, rank, *([contribution] if has_contributions else [])])
    with container("div"):
        text_element("h3", "Its rank by each source")
        headings = ["source", "score", "rank", *(["adds"] if has_contributions else [])]
        data_table(f"Rank of the {words.item} by each source", headings, rows, (1, 2, 3))


def _draw_features(features: Mapping[str, Any]) -> None:
    rows = [[feature["words"], feature["reads"], f"{feature['adds']:+.2f}"] for feature in features["strongest"]]
    rows.append([f"{features['others']} others together", "", f"{features['rest']:+.2f}"])
    with container("div"):
        text_element("h3", "What its score is made of")
        data_table("What the score is made of", ["feature", "value", "adds"], rows, (1, 2))


def verdict_sentence(why: Mapping[str, Any]) -> str:
    """The rank of the item, or why it is not recommended."""
    if why["left_out"]:
        return f"Not recommended: {' and '.join(why['removed_by'])}."
    if why["rank"] is None:
        return f"Not recommended: no source has it among its best; {why['of']:,} other candidates were ranked."
    return f"It is the {ordinal(why['rank'])} of {why['of']:,} candidates."
