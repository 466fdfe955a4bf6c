#!/usr/bin/env python3
"""Checks explanations independently, from files alone: answers of `crossaisle recommend --json`, and the store's items and reviews.

    python scripts/check_explanations.py answers.jsonl --items items.jsonl --reviews reviews.jsonl

Needs only Python and imports nothing from crossaisle, so it can be reviewed by anyone who doubts the checks inside. Prints counts and every
fault; exits with 1 after a fault, with 2 when a file cannot be read. Checks of each text:

- Is every name the item's or an evidence item's? With --items by their titles, brands and categories, otherwise by the evidence.
- Does it name the item, and no other item of the catalogue? A title inside a longer allowed one is no other item.
- Is every number outside of names and quotations in the evidence, and every "25 of 46" in this order?
- Is every quotation, at word boundaries, in a review of this item or in the user's text? Without --reviews: in the evidence.
- Are the listed claims in the text, each with its fact?

It does not understand words, does not recount figures, and does not detect lower-case names unless they are titles.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

# How a title is shown: without the marks that mean something to a prompt or a quotation.
SHOWN = str.maketrans('<>{}[]|`#"“”', "‹›()()¦'＃'''")
DIGITS = r"\d+(?:[.,]\d+)*"
NUMBER = re.compile(rf"[€$£]?{DIGITS}(?: ?[%‰])?")
SHARE = re.compile(rf"({DIGITS}) of ({DIGITS})")
SHARE_TURNED = re.compile(rf"(?<!\d )\bof ({DIGITS}) [^.,;:]*, (?:about )?({DIGITS})(?![.,]?\d| times)")
WORD = re.compile(r"[^\W\d_][\w'’-]*")
CUT = 60
"""Letters after which a long title is cut; between words, where it has any."""
OPENERS = set(
    "a about after also among an and as at because before beside besides between but by during for from here if in it its many most much "
    "next of on once one or other our over said shoppers since so some something that the their then there these they this thinking "
    "those to together under users we what when where while who with within without you your".split()
)


@dataclass
class Store:
    """What the store's files say: items and reviews by item id, titles by their first word; None where a file was not given."""

    items: dict[str, dict] | None = None
    reviews: dict[str, list[str]] | None = None
    titles: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, help="JSON of answers, one a line or one after another")
    parser.add_argument("--items", type=Path, help="the store's items, JSON lines")
    parser.add_argument("--reviews", type=Path, help="the store's reviews, JSON lines")
    options = parser.parse_args()
    try:
        store = read_store(options.items, options.reviews)
        answers = read(options.answers)
        entries = [(number, answer, entry) for number, answer in enumerate(answers, 1) for entry in answer["recommendations"]]
        counts: Counter[str] = Counter(answers=len(answers), recommendations=len(entries))
        faults = 0
        for number, answer, entry in entries:
            for fault in check(entry, answer, store, counts):
                faults += 1
                print(f"answer {number}, {entry['item_id']}: {fault}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"cannot be checked: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(
        ", ".join(f"{counts[name]} {name}" for name in ("answers", "recommendations", "texts", "names", "numbers", "quotations", "claims"))
    )
    print(f"{faults} fault{'s' if faults != 1 else ''}")
    return 1 if faults else 0


def read(path: Path) -> list[dict]:
    """The JSON objects of a file, one a line or one after another."""
    text, decoder, found, at = path.read_text("utf-8-sig").strip(), json.JSONDecoder(), [], 0
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path}: holds {str(value)[:40]!r}, wanted JSON objects")
        found.append(value)
        gap = re.compile(r"\s*").match(text, end)
        at = gap.end() if gap else end
    if not found:
        raise ValueError(f"{path} is empty")
    return found


def read_store(items: Path | None, reviews: Path | None) -> Store:
    """The store's files, as far as they are given."""
    store = Store()
    if items:
        store.items = {str(item["item_id"]): item for item in read(items)}
        for item in store.items.values():
            title = shown(item.get("title") or "")
            if word := re.search(r"\w+", title):
                store.titles[word[0]].add(title[word.start() :])
    if reviews:
        store.reviews = defaultdict(list)
        for review in read(reviews):
            store.reviews[str(review["item_id"])].append(one_line(review.get("text") or ""))
    return store


def check(entry: dict, answer: dict, store: Store, counts: Counter[str]) -> list[str]:
    """What is wrong with a recommendation's explanation, in words; counts what was looked at."""
    explanation = entry.get("explanation") or {}
    text, facts = explanation.get("text") or "", explanation.get("evidence") or []
    if not text:
        return []
    counts["texts"] += 1
    found = [] if explanation.get("verified") else ["it is shown though not verified"]
    titles, words, unknown = allowed(entry, facts, store)
    found += unknown
    plain = text.translate(SHOWN)
    names = [beginning for title in titles for beginning in beginnings(title)]
    own = places(plain, names)
    quotes, closed = quotations(text, own)
    found += [] if closed else ["a quotation does not close"]
    found += wrong_quotes(entry, answer, facts, store, [text[start + 1 : end - 1] for start, end in quotes])
    outside = blot(plain, quotes)
    own = [(start, end) for start, end in own if outside[start:end] == plain[start:end]]
    found += wrong_names(outside, own, titles, words, counts)
    found += other_titles(outside, own + places(outside, words), titles, store)
    numbers = blot(outside, own)
    figures = [blot(f["text"].translate(SHOWN), places(f["text"].translate(SHOWN), names)) for f in facts if not spoken(f)]
    found += wrong_numbers(numbers, figures, counts)
    counts["quotations"] += len(quotes)
    return found + wrong_claims(explanation, facts, counts)


def allowed(entry: dict, facts: list[dict], store: Store) -> tuple[list[str], list[str], list[str]]:
    """Titles that the text may use, the item's first; other words that hold names (brands, categories); and what is not in the store."""
    if store.items is None:
        known = [f["text"].partition(": ")[2].partition(", close in description")[0] for f in facts if f["kind"] == "history"]
        return [called(entry), *map(shown, known)], [f["text"].translate(SHOWN) for f in facts if not spoken(f)], []
    ids = dict.fromkeys(str(name) for name in [entry["item_id"], *(f.get("item_id") for f in facts)] if name is not None)
    faults = [f"the catalogue has no item {name}" for name in ids if name not in store.items]
    items = [store.items[name] for name in ids if name in store.items]
    if not faults and one_line(items[0].get("title") or "") != one_line(entry["title"]):
        faults.append(f"the catalogue calls the item {items[0].get('title')!r}, the answer {entry['title']!r}")
    paths = [item.get("category") or [] for item in items]
    parts = [part for path in paths for part in (path.split(" > ") if isinstance(path, str) else path)]
    titles = [called(item) for item in items] or [called(entry)]
    return titles, [shown(str(word)) for word in [*parts, *(item.get("brand") or "" for item in items)] if word], faults


def wrong_names(text: str, own: list[tuple[int, int]], titles: list[str], words: list[str], counts: Counter[str]) -> list[str]:
    """Names that are nobody's, and an item that is not named."""
    found = []
    mine = {text[start:end] for start, end in own} & set(beginnings(titles[0]))
    if not mine:
        found.append(f"it does not name the item {titles[0]}")
    counts["names"] += len(own)
    for _, end in own:
        if (more := re.match(r" (\w+)", text[end:])) and (more[1][0].isupper() or more[1][0].isdigit()):
            found.append(f"a name goes on as no item's does: …{text[max(0, end - 20) : end]}{more[0]}")
    blotted = blot(text, own)
    for name, start in capital_runs(blotted):
        end = start + len(name)
        beside = text[end : end + 1] == " " and blotted[end + 1 : end + 2] == "\0" != text[end + 1]
        first, _, rest = name.partition(" ")
        if text[:start].rstrip(" ")[-1:] in ("", ".", ":", "!", "?", "\0") and (first.casefold() in OPENERS or not (rest or beside)):
            name = rest.removeprefix("& ")
        if name:
            counts["names"] += 1
            if beside or not any(places(source, [name]) for source in [*titles, *words]):
                found.append(f"a name that is neither the item's nor an evidence item's: {name}")
    return found


def capital_runs(text: str) -> list[tuple[str, int]]:
    """Words that each begin with a capital and stand side by side, or with an & between them, and where they start."""
    runs: list[tuple[int, int]] = []
    for word in WORD.finditer(text):
        if word[0][0].isupper():
            beside = runs and text[runs[-1][1] : word.start()] in (" ", " & ")
            runs[-1:] = [(runs[-1][0], word.end())] if beside else [*runs[-1:], word.span()]
    return [(text[start:end], start) for start, end in runs]


def other_titles(text: str, own: list[tuple[int, int]], titles: list[str], store: Store) -> list[str]:
    """Titles of items that have no business in the text; not those inside a longer name that may stand there."""
    found = []
    for word in re.finditer(r"\w+", text):
        for title in store.titles.get(word[0], ()):
            start, end = word.start(), word.start() + len(title)
            few = title.casefold() in OPENERS or not re.search(r"[^\W\d_]", title)
            if few or title in titles or not text.startswith(title, start) or text[end : end + 1].isalnum():
                continue
            if not any(begin <= start and end <= stop for begin, stop in own):
                found.append(f"it names another item: {title}")
    return found


def wrong_numbers(text: str, facts: list[str], counts: Counter[str]) -> list[str]:
    """Numbers that no fact has, and parts of a whole that stand the other way round in the evidence, or not together."""
    numbers = NUMBER.findall(text)
    counts["numbers"] += len(numbers)
    known = {number for fact in facts for number in NUMBER.findall(fact)}
    found = [f"a number that is not in the evidence: {number}" for number in numbers if number not in known]
    shares = {share for fact in facts for share in SHARE.findall(fact)}
    stated = SHARE.findall(text) + [(part, whole) for whole, part in SHARE_TURNED.findall(text)]
    in_shares = {number for share in shares for number in share}
    for share in stated:
        if share not in shares and set(share) <= known and set(share) & in_shares:
            found.append(f"a figure that the evidence gives otherwise: {share[0]} of {share[1]}")
    return found


def wrong_quotes(entry: dict, answer: dict, facts: list[dict], store: Store, quotes: list[str]) -> list[str]:
    """Quotations, in the text and in the evidence, that nobody wrote of this item or said."""
    said = [f["text"] for f in facts if f["kind"] == "need"]
    asked = (answer.get("query") or {}).get("text")
    if asked is not None:
        said = [words for words in said if shown(asked).startswith(words)]
    written = [f["text"] for f in facts if f["kind"] == "review"]
    found = []
    if store.reviews is not None:
        reviews = store.reviews.get(str(entry["item_id"]), [])
        found = [
            f"a review in the evidence that nobody wrote of this item: {q}" for q in written if not any(places(r, [q]) for r in reviews)
        ]
        written = reviews
    for quote in quotes:
        if not quote.strip() or not any(places(words, [quote]) for words in [*written, *said]):
            found.append(f"a quotation that nobody wrote of this item, nor the shopper said: {quote}")
    return found


def wrong_claims(explanation: dict, facts: list[dict], counts: Counter[str]) -> list[str]:
    """Claims that are not in the text, or have no fact."""
    found, ids = [], {f.get("id") for f in facts} - {None}
    for claim in explanation.get("claims") or []:
        counts["claims"] += 1
        if not places(explanation["text"], [claim["text"]]):
            found.append(f"a claim that is not in the text: {claim['text']}")
        if claim["evidence"] not in ids:
            found.append(f"a claim without its fact {claim['evidence']}: {claim['text']}")
    return found


def quotations(text: str, names: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], bool]:
    """Where the quotations stand, marks included, and whether all close; a mark in a name or an inch mark (7" tablet) opens none."""
    found, opened, closed = [], None, True
    for at, c in enumerate(text):
        if c not in '"“”' or any(start <= at < end for start, end in names):
            continue
        if opened is None:
            if c == "”":
                closed = False
            elif c == "“" or not text[at - 1 : at].isdigit():
                opened = at
        elif c == ("”" if text[opened] == "“" else '"'):
            found.append((opened, at + 1))
            opened = None
    return found, closed and opened is None


def beginnings(title: str) -> list[str]:
    """A title and what it may be shortened to: its first words, two or more, or its first letters where it has no words."""
    return [title, title[:CUT].rstrip(), *(title[: word.end()] for word in list(re.finditer(r"\w+", title))[1:])]


def places(text: str, parts: list[str]) -> list[tuple[int, int]]:
    """Where parts stand in a text, from word border to word border; of parts that overlap the longest."""
    found: list[tuple[int, int]] = []
    for part in sorted({part for part in parts if part.strip()}, key=len, reverse=True):
        at = text.find(part)
        while at >= 0:
            end = at + len(part)
            whole = not re.match(r"\w", text[at - 1 : at]) and not re.match(r"\w", text[end : end + 1])
            if whole and not any(at < stop and start < end for start, stop in found):
                found.append((at, end))
            at = text.find(part, at + 1)
    return found


def blot(text: str, stretches: list[tuple[int, int]]) -> str:
    """The text with stretches made unreadable; its length stays."""
    for start, end in stretches:
        text = text[:start] + "\0" * (end - start) + text[end:]
    return text


def called(item: dict) -> str:
    """An item's title as it is shown, its id where it has none."""
    return shown(item.get("title") or "") or str(item["item_id"])


def shown(text: str) -> str:
    """A title or a shopper's words as an answer shows them, before they are cut."""
    return one_line("".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else "" for c in text).translate(SHOWN))


def one_line(text: str) -> str:
    return " ".join(text.split())


def spoken(fact: dict) -> bool:
    """Whether a fact is somebody's words; their numbers and names are not the store's."""
    return fact["kind"] in ("review", "need")


if __name__ == "__main__":
    sys.exit(main())
