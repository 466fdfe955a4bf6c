"""One recommendation of a kettle, as `recommend --json` gives it, for the tests of what reads explanations."""

from __future__ import annotations

import copy
from typing import Any

TABLE = 'Nordlo 7" Camp Table'
KETTLE = "Voltano Glass Kettle 2 l"
TEXT = "With your Nordlo 7' Camp Table, the Voltano Glass Kettle 2 l could be next: of 46 shoppers who bought the first, 25 also bought the second."
QUOTE = "Boils two litres in 3 minutes."
FACTS: list[dict[str, Any]] = [
    {
        "kind": "association",
        "text": f"25 of 46 shoppers who bought Nordlo 7' Camp Table also bought {KETTLE}",
        "item_id": "T",
        "value": 4.7,
    },
    {"kind": "review", "text": QUOTE, "item_id": "K", "value": 0.5},
    {"kind": "association", "text": "159 of 226 shoppers who bought from Furniture also bought from Bed & Bath, 1.2 times the usual share"},
    {"kind": "history", "text": "bought before: Nordlo 7' Camp Table, close in description to " + KETTLE, "item_id": "T", "value": 0.4},
    {"kind": "attribute", "text": f"category of {KETTLE}: Kitchen › Small Appliances", "item_id": "K"},
]


def kettle(text: str = TEXT, **explanation: Any) -> dict[str, Any]:
    """The recommendation with a text of one's own; its evidence is a copy."""
    shown = {"text": text, "source": "wording", "verified": bool(text), "evidence": copy.deepcopy(FACTS), **explanation}
    return {"rank": 1, "item_id": "K", "title": KETTLE, "category": ["Kitchen", "Small Appliances"], "anchor": "T", "explanation": shown}


def with_ids(entry: dict[str, Any]) -> dict[str, Any]:
    """The recommendation, its facts called e1, e2 and so on."""
    for number, fact in enumerate(entry["explanation"]["evidence"], 1):
        fact["id"] = f"e{number}"
    return entry
