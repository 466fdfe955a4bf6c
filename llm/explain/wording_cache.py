"""Cache of generated wordings by template: in memory, in a file, and precomputed with the adapter.

A wording has slots for everything that is specific to a store, so it applies to all facts of its template. Knows neither how wordings
are generated nor how slots are filled.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...data.atomic_files import write_atomically

if TYPE_CHECKING:
    from .briefs import Tone
    from .constrained_decoding import Length
    from .reasons import Occasion

SHIPPED_FILE = "wordings.json"
"""File of precomputed and reviewed wordings in the folder of an adapter."""
VERSION = 3
"""Version of the file format and of the generation method."""
MAX_WORDINGS = 10_000
"""Maximum number of cached wordings, in addition to the shipped ones."""
REPEATED_START_PENALTY = 1.0
"""Nats subtracted for each other wording of the template that starts with the same three words; more than likelihoods differ."""

_AWKWARD = re.compile(r"\b(?:so|and) (?:may|might|could|would)\b|\bor \{|\ba (?:figure|brand|price):", re.IGNORECASE)
"""Unidiomatic phrases: "so might look", "25 of 46, or 5.2 times"."""
_TREATS_AS_NOT_OWNED = re.compile(
    r"(?i)\b(?:choos(?:e|ing)|decid(?:e|ed|ing) on|tak(?:e|ing)|go(?:ing)? for|thinking of|want) (?:the|your) \{own\}"
    r"|\{own\} is (?:what|one) you|considering the \{own\}"
)
"""Phrases that imply that the shopper does not own the anchor yet."""
_SHARES_PURPOSE = re.compile(
    r"\b(?:both|they)\b|(?:,|just) (?:like|as) (?:your|the) \{own\}|\{own\} is (?:also |meant )?for", re.IGNORECASE
)
"""Phrases that say of the history item, too, what only the recommended item is for."""


class TemplateKey(NamedTuple):
    """Everything a wording depends on. The field names are keys of the file.

    Attributes:
        slots: The slots that it fills.
        firm: Whether it may judge without "may".
        occasion: How it begins.
        tone: Its tone.
        length: Its length.
    """

    slots: frozenset[str]
    firm: bool
    occasion: Occasion
    tone: Tone
    length: Length


VariantKey = tuple[TemplateKey, int]
"""A template, and the number of one of its wordings."""


class WordingCache:
    """Wordings by variant; None where no generated wording was good enough. `WordingCache.open` reads them.

    Args:
        file: File for newly generated wordings, None to keep them in memory only.
        adapter: SHA-256 of the weights that generate them.
        shipped: Wordings shipped with the adapter.
        generated: Wordings generated since.
    """

    def __init__(
        self, file: Path | None, adapter: str, shipped: Mapping[VariantKey, str | None], generated: Mapping[VariantKey, str | None]
    ) -> None:
        self.file, self.adapter, self._shipped = file, adapter, shipped
        self._generated = {variant: text for variant, text in generated.items() if variant not in shipped}
        self._excluded: frozenset[str] = frozenset()

    @classmethod
    def open(cls, file: Path | None, adapter: str, shipped: Path | None = None) -> WordingCache:
        """Read a file and the shipped wordings; a file that is unreadable or of another adapter counts as empty."""
        return cls(file, adapter, _load(shipped, adapter), _load(file, adapter))

    def __contains__(self, variant: VariantKey) -> bool:
        return variant in self._shipped or variant in self._generated

    def __iter__(self) -> Iterator[VariantKey]:
        yield from self._shipped
        yield from self._generated

    def items(self) -> Iterator[tuple[VariantKey, str | None]]:
        """Return all variants with their wordings."""
        return ((variant, self.get(variant)) for variant in self)

    def get(self, variant: VariantKey) -> str | None:
        """Return the wording, None if none was generated or none was good enough."""
        return self._shipped[variant] if variant in self._shipped else self._generated.get(variant)

    def assign_best(self, template: TemplateKey, numbers: Sequence[int], samples: Mapping[str, float]) -> None:
        """Assign to each number the best sample that differs from the template's other wordings; None if none is left.

        Args:
            template: The template.
            numbers: Numbers of the variants.
            samples: Mean log-likelihood of each sampled wording, in nats.
        """
        excluded = {_normalized(text) for text in self._excluded}
        others = [text for variant in self if variant[0] == template and (text := self.get(variant))]
        for number in numbers:
            if self.get((template, number)):
                continue
            known, starts = {*excluded, *map(_normalized, others)}, Counter(map(_first_words, others))
            scores = {
                text: likelihood - REPEATED_START_PENALTY * starts[_first_words(text)]
                for text, likelihood in samples.items()
                if _normalized(text) not in known
            }
            best = self._generated[template, number] = max(scores, key=scores.__getitem__, default=None)
            others += [best] if best else []
        for variant in [*self._generated][: max(0, len(self._generated) - MAX_WORDINGS)]:
            del self._generated[variant]

    def exclude(self, wordings: Collection[str]) -> None:
        """Remove generated wordings permanently: their variants are generated again, and these wordings are not accepted then."""
        self._excluded = frozenset(wordings)
        self._generated = {variant: text for variant, text in self._generated.items() if text not in self._excluded}

    def save(self) -> None:
        """Write the generated wordings for the next process. Write errors are ignored: the next process would generate them again."""
        if self.file is None:
            return
        entries = [
            {**template._asdict(), "slots": sorted(template.slots), "number": number, "text": text}
            for (template, number), text in self._generated.items()
        ]
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, f'{{"version": {VERSION}, "adapter": "{self.adapter}", "wordings": [\n{lines}\n]}}\n'.encode())


def has_each_slot_once(wording: str, slots: Collection[str]) -> bool:
    """Whether a wording is complete: it contains each slot once."""
    return all(wording.count(f"{{{slot}}}") == 1 for slot in slots)


def is_well_formed(wording: str, template: TemplateKey) -> bool:
    """Whether a wording is complete and idiomatic, and does not treat an owned anchor as not owned."""
    if not has_each_slot_once(wording, template.slots) or _AWKWARD.search(wording):
        return False
    if "purpose" in template.slots and _SHARES_PURPOSE.search(wording):
        return False
    return not (template.occasion == "owned" and _TREATS_AS_NOT_OWNED.search(wording))


def _load(file: Path | None, adapter: str) -> dict[VariantKey, str | None]:
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
        if (content["version"], content["adapter"]) != (VERSION, adapter):
            return {}
        wordings: dict[VariantKey, str | None] = {}
        for entry in content["wordings"]:
            template = TemplateKey(frozenset(entry["slots"]), entry["firm"], entry["occasion"], entry["tone"], entry["length"])
            wordings[template, entry["number"]] = entry["text"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return wordings


def _first_words(wording: str) -> str:
    return " ".join(wording.split()[:3])


def _normalized(wording: str) -> str:
    """Return a wording without differences that do not count: punctuation, case and the article before the anchor."""
    return re.sub(r"[^\w{}\s]", "", wording).casefold().replace("your {own}", "the {own}")
