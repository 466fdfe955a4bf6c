"""A store whose needs are known: whoever has a tent needs printer paper, and so on. Neither text nor behaviour says so, only the teacher.

The needs are arbitrary on purpose: a model that has not been taught knows nothing about them. Titles are a brand, a colour and a thing, so that an
item that was never taught is still a tent. The scripted teacher reads the prompt as a model would, and answers by the rule.
"""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
from numpy.typing import NDArray

from crossaisle.data.records import Item
from crossaisle.train.llm.pair_examples import PairEntities, unseen

NEEDS = {
    "tent": "printer paper",
    "guitar": "cat litter",
    "aquarium": "running shoes",
    "bicycle": "flour",
    "camera": "curtain",
    "drill": "shampoo",
}
"""What a person who has the key needs."""
BRANDS, COLOURS = ("Norrvik", "Pyra", "Fell", "Kettlow"), ("red", "blue", "green")
EQUIPMENT, SUPPLIES = "Equipment", "Supplies"


def items() -> list[Item]:
    """Every thing of every brand and colour."""
    things = [(thing, EQUIPMENT) for thing in NEEDS] + [(thing, SUPPLIES) for thing in NEEDS.values()]
    return [
        Item(f"{thing}-{brand}-{colour}".replace(" ", "-"), f"{brand} {colour} {thing}", (category,))
        for (thing, category), brand, colour in itertools.product(things, BRANDS, COLOURS)
    ]


def thing_of(text: str) -> str:
    """Return the thing that a line or a title is about."""
    return max((thing for thing in (*NEEDS, *NEEDS.values()) if re.search(rf"\b{thing}\b", text)), key=len)


def parts(user: str) -> tuple[list[str], list[str]]:
    """Return the lines of what a person has, and of the things to grade, of a message to the teacher."""
    has, things = (re.search(rf"^<{mark}>\n(.*?)\n</{mark}>$", user, re.DOTALL | re.MULTILINE) for mark in ("has", "things"))
    assert has is not None
    assert things is not None
    return [line.removeprefix("- ") for line in has[1].splitlines()], [line.partition(". ")[2] for line in things[1].splitlines()]


def in_json(grades: list[int]) -> str:
    """Return grades as the teacher answers them."""
    return json.dumps({str(number): grade for number, grade in enumerate(grades, start=1)})


def by_rule(_: str, user: str) -> str:
    """Answer by `NEEDS`."""
    has, things = parts(user)
    needed = {NEEDS.get(thing_of(line)) for line in has}
    return in_json([2 if thing_of(line) in needed else 0 for line in things])


def first_wins(_: str, user: str) -> str:
    """Answer as a model that looks at the position only."""
    return in_json([2] + [0] * (len(parts(user)[1]) - 1))


def unseen_questions(world: PairEntities, seed: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Return for each unseen piece of equipment one unseen item of every supply; the needed one comes first."""
    rng, questions = np.random.default_rng(0), []
    hidden: dict[str, list[int]] = {}
    for row in np.flatnonzero(unseen(world, seed)).tolist():
        hidden.setdefault(thing_of(world.items[row].title), []).append(row)
    for thing, needed in NEEDS.items():
        supplies = [needed, *(other for other in NEEDS.values() if other != needed and other in hidden)]
        questions += [
            (anchor, np.asarray([rng.choice(hidden[supply]) for supply in supplies]))
            for anchor in hidden.get(thing, ())
            if needed in hidden
        ]
    return questions
