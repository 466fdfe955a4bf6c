"""Reasons to recommend an item, and findings about a segment, as the explainer takes them.

Facts as strings that are ready for a sentence. Knows nothing of language models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ... import prompts
from ...data.records import Evidence
from .slots import Figure, the

FIRM_SUPPORT = 5
"""Shoppers behind a figure from whom on it carries a sentence without "could" or "may"."""
NAME, QUOTE = 60, 120
"""Characters of a name, and of a quotation, at most."""
NO_QUOTES = str.maketrans({'"': "'", "“": "'", "”": "'"})
"""For `str.translate`: text that will stand in quotation marks must not hold any."""
NEEDED = 1.2
"""Lift from which a segment is said to need something; below it only the figure is shown."""
# Names that can be bought as they stand ("Phones", "Toys & Games"); of any other one buys something from it ("Running").
_GOODS = re.compile(r"(?!(?:.* )?(?:sports|outdoors)$).*[^su'’]s(?<!ics)", re.IGNORECASE)
_JOINED = re.compile(r",|&|/| and not | and | or ")


Occasion = Literal["owned", "seen", "need"]
"""What a sentence begins with: an item the shopper has, one of a basket or a visit, or the shopper's own words."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What there is to say for one recommendation.

    Attributes:
        item: the item's name as it may be shown.
        owned: the name of the history item behind it, None where there is none. has: whether the shopper bought that one.
        need: what the shopper said, None where nothing was said or a history item is behind it.
        evidence: the facts, strongest first. clauses: one finished clause per fact that can carry a sentence, strongest first.
        counted: whether the first clause is a figure of shoppers; anything less is worded with "could" and "may".
        plain: the sentence made of the evidence alone.
        words: what else the lines of the prompt ask for; the prompt `explain` asks for nothing.
        slots: what each slot of a learned wording stands for, strongest evidence first. backing: slot to the id of its evidence.
        behind: ids of the evidence that the first clause and the plain sentence tell. firm: whether there is a fact that carries a
            judgement without "could" or "may".
    """

    item: str
    owned: str | None
    has: bool
    need: str | None
    evidence: tuple[Evidence, ...]
    clauses: tuple[str, ...]
    counted: bool
    plain: str
    words: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, str | Figure] = field(default_factory=dict)
    backing: Mapping[str, str] = field(default_factory=dict)
    behind: tuple[str, str] = ("", "")
    firm: bool = False

    @property
    def names(self) -> list[str]:
        """The product names a sentence may use, the item's first."""
        return [self.item, *([self.owned] if self.owned else [])]

    @property
    def occasion(self) -> Occasion | None:
        """What a sentence can begin with; None where the evidence has no clause to end it with."""
        if not self.clauses:
            return None
        if self.owned:
            return "owned" if self.has else "seen"
        return "need" if self.need else None


@dataclass(frozen=True, slots=True)
class Segment:
    """What was found of a segment: the shoppers it is made of, and what they need.

    Attributes:
        cohort: what makes the segment, as the store or the marketer calls it: strangers' text. need: the category's or item's name.
        users: the segment's shoppers. support: how many of them went on to the need, None where they are too few to count and only the
            texts suggest it.
        lift: their share over the usual one, None where it is not known. lift_low: lower end of its 95 % interval; only above 1 may the
            need be said without "may".
        days: the window, None where there is no clock. ordered: whether the need was counted after what made the segment.
        cohort_kind: `text` is the marketer's own words, quoted: also for a cohort that several things joined make. need_kind: likewise.
        verb: as in the catalogue: bought, rated or looked at. noisy: whether the counts were blurred for privacy.
        quote: a verbatim stretch of a review, for colour.
    """

    cohort: str
    need: str
    users: int
    support: int | None
    lift: float | None = None
    lift_low: float | None = None
    days: int | None = None
    ordered: bool = True
    cohort_kind: Literal["category", "item", "brand", "text"] = "category"
    need_kind: Literal["category", "item"] = "category"
    verb: str = "bought"
    noisy: bool = False
    quote: str | None = None

    def reason(self) -> Reason:
        """The figures as a reason for `Explainer(llm, prompt="segment")`."""
        cohort, need = _name(self.cohort), _name(self.need)
        things, had = _things(need, self.need_kind), _things(cohort, self.cohort_kind)
        said = self.cohort_kind == "text"
        who = f"shoppers who fit “{cohort}”" if said else f"shoppers who {self.verb} {had}"
        if self.support is None:
            facts = [Evidence("attribute", f"judged by name and description alone, {who} may need {things}; too few to count yet")]
            clauses = ["judged by name and description alone, too few to count yet."]
        else:
            shares = self._shares(who, f"{self.verb} {things}")
            facts = [Evidence("association", shares, None, None if self.lift is None or math.isinf(self.lift) else round(self.lift, 2))]
            there = "it" if self.need_kind == "item" else "from there" if self.verb == "bought" else "something from there"
            clauses = [f"{self._shares('', f'{self.verb} {there}')}."] if (self.lift or 0) >= NEEDED else []
        plain = f"{facts[0].text[0].upper()}{facts[0].text[1:]}."
        if said:
            facts.append(Evidence("need", cohort))
        # Verbatim or not at all: a quotation that the fence would change, or that holds quotation marks, is left out.
        if self.quote and clauses and self.quote == prompts.fence(self.quote, QUOTE).translate(NO_QUOTES):
            facts.append(Evidence("review", self.quote))
            clauses[0] += f" A reviewer wrote “{self.quote}”"
        return Reason(
            item=need,
            owned=None if said else cohort,
            has=True,
            need=cohort if said else None,
            evidence=tuple(facts),
            clauses=tuple(clauses),
            counted=self.support is not None and (self.lift_low or 0) > 1,
            plain=plain,
            words={
                "verb": self.verb,
                "cohort": had,
                "things": things,
                "next": " next" if self.ordered and self.support is not None else "",
            },
        )

    def _shares(self, who: str, did: str) -> str:
        """The figure in words: `38 of 123 WHO DID within 90 days, 2.6 times the usual share`."""
        count = f"{'about ' if self.noisy else ''}{self.support} of {self.users} {who}".strip()
        within = f" within {self.days} day{'s' if self.days > 1 else ''}" if self.ordered and self.days else ""
        when = "" if within else "later " if self.ordered else "also "
        times = "" if self.lift is None or math.isinf(self.lift) else f", {self.lift:.{1 if self.lift < 10 else 0}f} times the usual share"
        return f"{count} {when}{did}{within}{times}"


def _name(text: str) -> str:
    """A stranger's name for a category or a segment as it may stand in a sentence, in quotation marks too."""
    return prompts.fence(text, NAME).translate(NO_QUOTES) or "(no name)"


def _things(name: str, kind: str) -> str:
    """What one has who bought it: `Phones`, `something from Running`, `something by Norrvik`, `the Dome Tent`."""
    if kind == "category" and all(_GOODS.fullmatch(part.strip()) for part in _JOINED.split(name)):
        return name
    if kind == "item":
        return the(name)
    return {"category": f"something from {name}", "brand": f"something by {name}"}.get(kind, name)
