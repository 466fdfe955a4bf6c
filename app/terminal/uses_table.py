"""Terminal output and JSON of the uses of a store: each with its items, a sentence of each, and the behaviour of their users."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...data.privacy.disclosure import MIN_USERS
from ...data.store_words import DEFAULT_WORDS, StoreWords
from .render import printable

if TYPE_CHECKING:
    from rich.console import Console

    from ...retrieval.uses.store import StoreUses, Use

SOURCES = {"title": "title", "description": "description", "review": "review", "near": "close to it, does not name it"}
MAX_ITEMS_SHOWN = 3
"""Items of a use that the terminal shows with a sentence; all items of a use are in the JSON."""


def uses_to_dict(
    store: StoreUses, listed: Sequence[Use], titles: Mapping[str, str], item_id: str | None = None, words: StoreWords = DEFAULT_WORDS
) -> dict[str, Any]:
    """Return uses as a JSON-serializable dict.

    Args:
        store: All uses of the store.
        listed: The uses to return.
        titles: Item id to title.
        item_id: Item that the uses were selected by.
        words: The store's words.
    """
    uses = []
    for use in listed:
        items = [
            {
                "item_id": item,
                "title": titles.get(item, ""),
                "support": [
                    {"source": sentence.source, "sentence": sentence.sentence} for sentence in use.sentences if sentence.item_id == item
                ],
            }
            for item in [*use.items, *use.near_items]
        ]
        uses.append({"name": use.name, "kind": use.kind, **_shown_support(use, words), "items": items})
    return {"language": store.language, "total": len(store.uses), "item_id": item_id, "message": store.message, "uses": uses}


def _shown_support(use: Use, words: StoreWords) -> dict[str, Any]:
    """The counts of a use; None for those of too few users, or from which such a count follows."""
    support = use.support
    figures = {name: value if math.isfinite(value) else None for name, value in asdict(support).items()}
    if support.users and support.users < MIN_USERS:
        return {**dict.fromkeys(figures), "withheld": f"fewer than {MIN_USERS} {words.people}"}
    if any(0 < count < MIN_USERS for count in (support.continued, support.users - support.continued)):
        return {**dict.fromkeys(figures), "users": support.users, "withheld": f"fewer than {MIN_USERS} {words.people} went on, or did not"}
    return {**figures, "withheld": None}


def print_uses(
    console: Console,
    store: StoreUses,
    listed: Sequence[Use],
    titles: Mapping[str, str],
    item_id: str | None = None,
    words: StoreWords = DEFAULT_WORDS,
) -> None:
    """Print uses, each with some of its items; of an item only its own sentence.

    Args: as for `uses_to_dict`, and the console.
    """
    from rich.text import Text

    if store.message is not None:
        console.print(Text(store.message, style="yellow"))
        return
    if item_id is not None:
        console.print(Text(printable(titles.get(item_id, "") or item_id), style="bold"))
        if not listed:
            console.print(Text(f"no text of this {words.item} names a use that another {words.item} has too", style="yellow"))
    else:
        console.print(Text(f"{len(listed):,} of {len(store.uses):,} uses ({store.language} patterns)", style="dim"))
    for use in listed:
        near = f" and {len(use.near_items):,} close to it" if use.near_items else ""
        console.print(Text(printable(use.name), style="bold") + Text(f"  {use.kind}, {len(use.items):,} {words.items}{near}", style="cyan"))
        console.print(Text(f"  {_behaviour(use, words)}", style="dim"))
        shown = use.items[:MAX_ITEMS_SHOWN] if item_id is None else [item_id]
        for item in shown:
            sentence = use.sentences_of(item)[0]
            title = Text("  " + printable(titles.get(item, "") or item)[:60])
            said = f": “{printable(sentence.sentence)}” ({SOURCES[sentence.source]})" if sentence.source != "title" else ""
            quoted = Text(said, style="green")
            console.print(title + quoted)
        if len(use.items) > len(shown) and item_id is None:
            console.print(Text(f"  and {len(use.items) - len(shown):,} more", style="dim"))


def _behaviour(use: Use, words: StoreWords) -> str:
    shown = _shown_support(use, words)
    if shown["users"] is None:
        return str(shown["withheld"])
    users, onwards = f"{shown['users']:,} {words.people}", f"to another of its {words.items} in another category"
    if shown["continued"] is None:
        return f"{users}; how many went on {onwards} is not shown: {shown['withheld']}"
    sentence = f"{users}; {shown['continued']:,} went on {onwards}"
    if shown["high"] is None:
        return f"{sentence}; none of its {words.items} is in another category"
    return f"{sentence}, {shown['expected']:.1f} expected by chance: lift {shown['lift']:.1f} [{shown['low']:.1f}, {shown['high']:.1f}]"
