"""What the small judge learns of items: pairs that go together, that replace each other, and neither, written by hand.

A line of `prompts/judging_pairs.jsonl` has three titles that do the same work, titles of what is used with them, and two of the same aisle
that are neither. Every pair follows from that; a far item is drawn from another category. Titles are written anew each time (a brand, a
size, a model's number), so that what is learned is not the title. Whole categories are held out, to stop by and to test with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np

from .. import prompts

Part = Literal["learning", "validation", "test"]
VALIDATION = frozenset({"Car", "Travel"})
TEST = frozenset({"Crafts & Sewing", "Cycling", "Garden", "Music", "Pet Supplies"})
COMPLEMENT, SUBSTITUTE, NEITHER = range(3)
"""As `llm.judging.RELATIONS` has them."""
BRANDS = (
    "Arvane Belmor Corvik Dunlo Elvara Fenwick&Co Gastrel Havnor Ixora Jarnby Kestro Lunova Mirell Nordal Oskari Pelago Quenby Rivona "
    "Solvig Tarnis Umbro-Tec Velmar Westrand Yarrow Zentis"
).split()
TAILS = ("Black", "Blue", "White", "2 Pack", "Pack of 3", "Large", "Small", "New Model", "Premium Quality", "Gift Boxed", "Eco Edition")
VARIANTS = ("Red", "Grey", "XL", "Twin Pack", "4 Pieces", "Value Set", "Light Edition", "Green", "Mini", "Refurbished")
"""What tells two variants of one thing apart."""


@dataclass(frozen=True, slots=True)
class Group:
    """Titles around one kind of thing. Attributes: same: that do the same work. used: with each of them. near: neither."""

    category: str
    same: tuple[str, ...]
    used: tuple[str, ...]
    near: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A first item, and others held against it. Attributes: answers: per second, its place in `RELATIONS`. cluster: its group's number."""

    first: str
    seconds: tuple[str, ...]
    answers: tuple[int, ...]
    cluster: int


@cache
def groups() -> tuple[Group, ...]:
    """All that were written, in the order of the file."""
    source = files(prompts.__package__ or "").joinpath("judging_pairs.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in source.splitlines() if line.strip()]
    return tuple(Group(one["category"], tuple(one["same"]), tuple(one["with"]), tuple(one["neither"])) for one in lines)


def part_of(category: str) -> Part:
    """What a category is for."""
    return "validation" if category in VALIDATION else "test" if category in TEST else "learning"


def pairs(part: Part, seed: int, rounds: int = 1, *, dressed: bool = True) -> list[Pairs]:
    """The pairs of a part, anew in each round. Args: dressed: whether titles get brands, sizes and the like that were not written."""
    draw = np.random.default_rng([seed, 11, ("learning", "validation", "test").index(part)])
    return [one for _ in range(rounds) for number, group in enumerate(groups()) if part_of(group.category) == part
            for one in _of(number, group, draw, dressed)]  # fmt: skip


def _of(number: int, group: Group, draw: np.random.Generator, dressed: bool) -> Iterator[Pairs]:
    for first in group.same:
        others = [title for title in group.same if title != first]
        if dressed and draw.random() < 0.4:  # the same thing in another size or colour
            others[int(draw.integers(len(others)))] = _plain(first) + ", " + str(draw.choice(VARIANTS))
        asked = [
            *((title, SUBSTITUTE) for title in others),
            *((str(title), COMPLEMENT) for title in draw.permutation(group.used)[:2]),
            (str(draw.choice(group.near)), NEITHER),
            (_far(group, draw), NEITHER),
        ]
        yield _asked(first, asked, number, draw, dressed)
    # The other way round: what goes with a thing has the thing go with it.
    backwards = [
        *((str(title), COMPLEMENT) for title in draw.permutation(group.same)[:2]),
        (str(draw.choice(group.near)), NEITHER),
        (_far(group, draw), NEITHER),
    ]
    yield _asked(str(draw.choice(group.used)), backwards, number, draw, dressed)


def _asked(first: str, asked: Sequence[tuple[str, int]], number: int, draw: np.random.Generator, dressed: bool) -> Pairs:
    order = draw.permutation(len(asked)).tolist()
    dress = (lambda title: _dressed(title, draw)) if dressed else (lambda title: title)
    return Pairs(dress(first), tuple(dress(asked[i][0]) for i in order), tuple(asked[i][1] for i in order), number)


def _far(group: Group, draw: np.random.Generator) -> str:
    """A title of another category of the same part."""
    part = part_of(group.category)
    others = [one for one in groups() if one.category != group.category and part_of(one.category) == part]
    chosen = others[int(draw.integers(len(others)))]
    return str(draw.choice([*chosen.same, *chosen.used, *chosen.near]))


def _plain(title: str) -> str:
    return title.partition(",")[0]


def _dressed(title: str, draw: np.random.Generator) -> str:
    """A title as another store might write it."""
    if draw.random() < 0.25:
        title = _plain(title)
    if draw.random() < 0.4:
        title = f"{draw.choice(BRANDS)} {title}"
    if draw.random() < 0.25:
        title = f"{title}, {draw.choice(TAILS)}"
    if draw.random() < 0.15:
        title = f"{title} {draw.choice(list('ABKMRSTX'))}{draw.choice(list('DEHNPV'))}-{int(draw.integers(10, 990))}"
    return title.lower() if draw.random() < 0.08 else title
