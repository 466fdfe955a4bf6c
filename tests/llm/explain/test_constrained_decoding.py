"""What a model may write when it words a reason: whatever it draws, the rules hold."""

from __future__ import annotations

import random
import re

import pytest

from crossaisle.llm.explain.briefs import examples, wording
from crossaisle.llm.explain.constrained_decoding import MOST_TOKENS, Alphabet, Length, Task, Writing, alphabet, may_write, read
from crossaisle.llm.explain.slots import LETTERS, lettered
from crossaisle.llm.explain.vocabulary import HEDGES, JOINING, NEGATIONS, OWNING, STORE, WORDING
from crossaisle.llm.models.language_model import LanguageModel

TASKS = [
    Task(frozenset({"own", "item", "figure"}), True, False, "line"),
    Task(frozenset({"own", "item", "close"}), False, True, "line"),
    Task(frozenset({"need", "item", "quote"}), False, False, "line"),
    Task(frozenset({"own", "item", "figure", "usual", "quote"}), True, False, "paragraph"),
    Task(frozenset({"own", "item", "figure", "quote", "caution", "price"}), True, True, "bullets"),
]


@pytest.fixture(scope="module")
def letters(llm: LanguageModel) -> Alphabet:
    return alphabet(llm)


def _walk(task: Task, letters: Alphabet, llm: LanguageModel, draw: random.Random) -> str | None:
    """A wording at random: slots and ends a little likelier than joining words, or it would hardly ever come to an end."""
    writing, ids = Writing(letters, task), []
    names = {token for texts in letters.slots.values() for token in (texts[0][0], texts[1][0])} | {letters.end}
    names |= {letters.stops["."][0], letters.stops["\n-"][0]}
    names |= {llm.encode(text)[0] for text in (" the", " The", "The", " your", " may")}
    while True:
        tokens = writing.allowed()
        if not tokens:
            return None
        wanted = [token for token in tokens if token in names]
        token = draw.choice(wanted if wanted and draw.random() < 0.6 else tokens)
        if token == letters.end:
            return llm.tokenizer.decode(ids)
        ids.append(token)
        writing.take(token)
        assert len(ids) <= MOST_TOKENS[task.length] + 1


@pytest.mark.parametrize("task", TASKS)
def test_whatever_is_drawn_keeps_the_rules(task: Task, letters: Alphabet, llm: LanguageModel) -> None:
    draw = random.Random(1)
    whole = [text for _ in range(150) if (text := _walk(task, letters, llm, draw))]
    assert len(whole) > 10
    for text in whole:
        told = read(text, task.slots)
        assert sorted(re.findall(r"\{(\w+)\}", told)) == sorted(task.slots), "each slot once"
        words = {word.casefold() for word in re.findall(r"[a-z'’]{2,}|\ba\b", re.sub(r"\{\w+\}", "", told), re.IGNORECASE)}
        assert words <= (JOINING | STORE | WORDING) - NEGATIONS
        if not task.firm:
            assert words & HEDGES
        if task.seen:
            assert not words & OWNING
        assert re.search(r"\b[Tt]he \{item\}", told) or told.startswith("{item}")
        assert "{own}" not in told or re.search(r"\b(?:the|your) \{own\}", told, re.IGNORECASE)
        assert ("\n" in told) <= (task.length == "bullets")
        for sentence in re.split(r"(?<=\.) ", told.split("\n")[0]):
            assert sentence[0].isupper() or sentence[0] == "{"


def test_what_was_written_by_hand_could_have_been_written(letters: Alphabet, llm: LanguageModel) -> None:
    """Most of the examples keep to the words and forms that the model may use; it learns from no other."""
    fits = [
        may_write(letters, Task(one.slots, one.firm, one.occasion == "seen", one.length, free=True), llm.encode(lettered(one.text)))
        for one in examples()
    ]
    assert len(fits) >= 500
    assert sum(fits) >= 400


def test_examples_vary() -> None:
    """No six words begin more than a fiftieth of the wordings of one length."""
    for length in ("line", "paragraph", "bullets"):
        openings = [" ".join(one.text.split()[:6]) for one in examples() if one.length == length]
        assert max(openings.count(opening) for opening in openings) <= max(1, len(openings) // 50)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("With your {own}, the {item} is durable: {figure}.", "a word of its own"),
        ("With your {own}, the {item} is not a natural next step: {figure}.", "a negation"),
        ("With your {own}, the {item} is next.", "a fact left out"),
        ("With your {own}, the {item} is next: {figure}, {figure}.", "a fact told twice"),
        ("With your {own}, {item} is next: {figure}.", "a name without an article"),
        ("with your {own}, the {item} is next: {figure}.", "no capital letter"),
        ("With your {own}, the {item} is next: {figure}", "no full stop"),
        ("With your {own}, the {item} is next:\n- {figure}", "a list that nobody asked for"),
    ],
)
def test_what_breaks_a_rule_cannot_be_written(text: str, why: str, letters: Alphabet, llm: LanguageModel) -> None:
    task = Task(frozenset({"own", "item", "figure"}), True, False, "line")
    assert may_write(letters, task, llm.encode(lettered("With your {own}, the {item} is next: {figure}.")))
    assert not may_write(letters, task, llm.encode(lettered(text))), why


def test_a_weak_reason_needs_a_hedge_and_what_was_seen_is_not_had(letters: Alphabet, llm: LanguageModel) -> None:
    def may(text: str, *, firm: bool, seen: bool, length: Length = "line") -> bool:
        return may_write(letters, Task(frozenset({"own", "item", "close"}), firm, seen, length), llm.encode(lettered(text)))

    assert not may("The {item} goes with the {own}: {close}.", firm=False, seen=False)
    assert may("The {item} may go with the {own}: {close}.", firm=False, seen=False)
    assert may("The {item} may go with your {own}: {close}.", firm=False, seen=False)
    assert not may("The {item} may go with your {own}: {close}.", firm=False, seen=True)


def test_a_voice_is_followed_by_its_words(letters: Alphabet, llm: LanguageModel) -> None:
    """No figure is put into a reviewer's mouth, no complaint told as praise, no praise as a complaint."""

    def may(text: str, *facts: str) -> bool:
        task = Task(frozenset({"own", "item", *facts}), True, False, "paragraph")
        return may_write(letters, task, llm.encode(lettered(text)))

    assert may("With your {own}, the {item} is next: {figure}. One reviewer wrote {quote}", "figure", "quote")
    assert not may("With your {own}, the {item} is next. One reviewer wrote {figure}, and {quote}", "figure", "quote")
    assert not may("With your {own}, the {item} is next, says a review: {figure}.", "figure")
    assert may("With your {own}, the {item} is next: {figure}. One reservation of a reviewer: {caution}", "figure", "caution")
    assert not may("With your {own}, the {item} is next: {figure}. One reviewer wrote {caution}", "figure", "caution")
    assert not may("With your {own}, the {item} is next: {figure}. One reservation of a reviewer: {quote}", "figure", "quote")


def test_letters_are_read_back() -> None:
    for one in examples():
        assert read(lettered(one.text), one.slots) == one.text
    assert read("X is Xylophone, X's own", {"own"}) == "{own} is Xylophone, X's own"
    assert read("A Y", {"own"}) == "A Y", "a letter that was not given is left alone"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"slots": ["own", "item"]}, "each slot once"),
        ({"slots": ["own", "item", "figure", "moon"]}, "no slots: moon"),
        ({"tone": "loud"}, "'loud' is none of plain, warm, expert"),
    ],
)
def test_a_line_that_is_no_wording_is_refused(changed: dict[str, object], why: str) -> None:
    line = {"tone": "warm", "length": "line", "strength": "firm", "occasion": "owned", "categories": ["A", "B"]}
    line |= {"slots": ["own", "item", "figure"], "text": "With your {own}, the {item} is next: {figure}."}
    assert wording(line).firm
    with pytest.raises(ValueError, match=why):
        wording({**line, **changed})


def test_no_letter_of_a_slot_is_split_by_the_tokenizer(llm: LanguageModel) -> None:
    assert all(len(llm.encode(f" {letter}")) == 1 for letter in LETTERS.values())
