"""What a model may write when it words a reason: whatever it draws, the rules hold."""

from __future__ import annotations

import random
import re

import pytest

from crossaisle.llm.explain.briefs import handwritten_wordings, parse_wording
from crossaisle.llm.explain.constrained_decoding import (
    MAX_TOKENS,
    ConstrainedDecoder,
    Length,
    TokenVocabulary,
    WordingConstraints,
    is_decodable,
    restore_slots,
    token_vocabulary,
)
from crossaisle.llm.explain.slots import SLOT_LETTERS, slots_to_letters
from crossaisle.llm.explain.vocabulary import COMMENTING_WORDS, HEDGE_WORDS, JOINING_WORDS, NEGATION_WORDS, OWNERSHIP_WORDS, STORE_WORDS
from crossaisle.llm.models.language_model import LanguageModel

TASKS = [
    WordingConstraints(frozenset({"own", "item", "figure"}), True, False, "line"),
    WordingConstraints(frozenset({"own", "item", "close"}), False, True, "line"),
    WordingConstraints(frozenset({"need", "item", "quote"}), False, False, "line"),
    WordingConstraints(frozenset({"own", "item", "figure", "usual", "quote"}), True, False, "paragraph"),
    WordingConstraints(frozenset({"own", "item", "figure", "quote", "caution", "price"}), True, True, "bullets"),
]


@pytest.fixture(scope="module")
def letters(llm: LanguageModel) -> TokenVocabulary:
    return token_vocabulary(llm)


def _walk(task: WordingConstraints, letters: TokenVocabulary, llm: LanguageModel, draw: random.Random) -> str | None:
    """A wording at random: slots and ends a little likelier than joining words, or it would hardly ever come to an end."""
    writing, ids = ConstrainedDecoder(letters, task), []
    names = {token for texts in letters.slots.values() for token in (texts[0][0], texts[1][0])} | {letters.end}
    names |= {letters.stops["."][0], letters.stops["\n-"][0]}
    names |= {llm.encode(text)[0] for text in (" the", " The", "The", " your", " may")}
    while True:
        tokens = writing.allowed_tokens()
        if not tokens:
            return None
        wanted = [token for token in tokens if token in names]
        token = draw.choice(wanted if wanted and draw.random() < 0.6 else tokens)
        if token == letters.end:
            return llm.tokenizer.decode(ids)
        ids.append(token)
        writing.append(token)
        assert len(ids) <= MAX_TOKENS[task.length] + 1


@pytest.mark.parametrize("task", TASKS)
def test_whatever_is_drawn_keeps_the_rules(task: WordingConstraints, letters: TokenVocabulary, llm: LanguageModel) -> None:
    draw = random.Random(1)
    whole = [text for _ in range(150) if (text := _walk(task, letters, llm, draw))]
    assert len(whole) > 10
    for text in whole:
        told = restore_slots(text, task.slots)
        assert sorted(re.findall(r"\{(\w+)\}", told)) == sorted(task.slots), "each slot once"
        words = {word.casefold() for word in re.findall(r"[a-z'’]{2,}|\ba\b", re.sub(r"\{\w+\}", "", told), re.IGNORECASE)}
        assert words <= (JOINING_WORDS | STORE_WORDS | COMMENTING_WORDS) - NEGATION_WORDS
        if not task.confident:
            assert words & HEDGE_WORDS
        if task.anchor_only_viewed:
            assert not words & OWNERSHIP_WORDS
        assert re.search(r"\b[Tt]he \{item\}", told) or told.startswith("{item}")
        assert "{own}" not in told or re.search(r"\b(?:the|your) \{own\}", told, re.IGNORECASE)
        assert ("\n" in told) <= (task.length == "bullets")
        for sentence in re.split(r"(?<=\.) ", told.split("\n")[0]):
            assert sentence[0].isupper() or sentence[0] == "{"


def test_what_was_written_by_hand_could_have_been_written(letters: TokenVocabulary, llm: LanguageModel) -> None:
    """Most of the examples keep to the words and forms that the model may use; it learns from no other."""
    fits = [
        is_decodable(
            letters,
            WordingConstraints(one.slots, one.confident, one.occasion == "seen", one.length, relaxed=True),
            llm.encode(slots_to_letters(one.text)),
        )
        for one in handwritten_wordings()
    ]
    assert len(fits) >= 500
    assert sum(fits) >= 400


def test_examples_vary() -> None:
    """No six words begin more than a fiftieth of the wordings of one length."""
    for length in ("line", "paragraph", "bullets"):
        openings = [" ".join(one.text.split()[:6]) for one in handwritten_wordings() if one.length == length]
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
def test_what_breaks_a_rule_cannot_be_written(text: str, why: str, letters: TokenVocabulary, llm: LanguageModel) -> None:
    task = WordingConstraints(frozenset({"own", "item", "figure"}), True, False, "line")
    assert is_decodable(letters, task, llm.encode(slots_to_letters("With your {own}, the {item} is next: {figure}.")))
    assert not is_decodable(letters, task, llm.encode(slots_to_letters(text))), why


def test_a_weak_reason_needs_a_hedge_and_what_was_seen_is_not_had(letters: TokenVocabulary, llm: LanguageModel) -> None:
    def may(text: str, *, firm: bool, seen: bool, length: Length = "line") -> bool:
        return is_decodable(
            letters, WordingConstraints(frozenset({"own", "item", "close"}), firm, seen, length), llm.encode(slots_to_letters(text))
        )

    assert not may("The {item} goes with the {own}: {close}.", firm=False, seen=False)
    assert may("The {item} may go with the {own}: {close}.", firm=False, seen=False)
    assert may("The {item} may go with your {own}: {close}.", firm=False, seen=False)
    assert not may("The {item} may go with your {own}: {close}.", firm=False, seen=True)


def test_a_voice_is_followed_by_its_words(letters: TokenVocabulary, llm: LanguageModel) -> None:
    """No figure is put into a reviewer's mouth, no complaint told as praise, no praise as a complaint."""

    def may(text: str, *facts: str) -> bool:
        task = WordingConstraints(frozenset({"own", "item", *facts}), True, False, "paragraph")
        return is_decodable(letters, task, llm.encode(slots_to_letters(text)))

    assert may("With your {own}, the {item} is next: {figure}. One reviewer wrote {quote}", "figure", "quote")
    assert not may("With your {own}, the {item} is next. One reviewer wrote {figure}, and {quote}", "figure", "quote")
    assert not may("With your {own}, the {item} is next, says a review: {figure}.", "figure")
    assert may("With your {own}, the {item} is next: {figure}. One reservation of a reviewer: {caution}", "figure", "caution")
    assert not may("With your {own}, the {item} is next: {figure}. One reviewer wrote {caution}", "figure", "caution")
    assert not may("With your {own}, the {item} is next: {figure}. One reservation of a reviewer: {quote}", "figure", "quote")


def test_letters_are_read_back() -> None:
    for one in handwritten_wordings():
        assert restore_slots(slots_to_letters(one.text), one.slots) == one.text
    assert restore_slots("X is Xylophone, X's own", {"own"}) == "{own} is Xylophone, X's own"
    assert restore_slots("A Y", {"own"}) == "A Y", "a letter that was not given is left alone"


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
    assert parse_wording(line).confident
    with pytest.raises(ValueError, match=why):
        parse_wording({**line, **changed})


def test_no_letter_of_a_slot_is_split_by_the_tokenizer(llm: LanguageModel) -> None:
    assert all(len(llm.encode(f" {letter}")) == 1 for letter in SLOT_LETTERS.values())
