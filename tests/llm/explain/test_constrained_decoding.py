"""Constrained decoding: every sampled wording satisfies its constraints."""

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

CONSTRAINTS = [
    WordingConstraints(frozenset({"own", "item", "figure"}), True, False, "line"),
    WordingConstraints(frozenset({"own", "item", "close"}), False, True, "line"),
    WordingConstraints(frozenset({"need", "item", "quote"}), False, False, "line"),
    WordingConstraints(frozenset({"own", "item", "figure", "usual", "quote"}), True, False, "paragraph"),
    WordingConstraints(frozenset({"own", "item", "figure", "quote", "caution", "price"}), True, True, "bullets"),
]


@pytest.fixture(scope="module")
def vocabulary(llm: LanguageModel) -> TokenVocabulary:
    return token_vocabulary(llm)


def _random_wording(constraints: WordingConstraints, vocabulary: TokenVocabulary, llm: LanguageModel, rng: random.Random) -> str | None:
    """Return a random wording; slots and ends are more likely than joining words, or few wordings would end."""
    decoder, ids = ConstrainedDecoder(vocabulary, constraints), []
    preferred = {token for texts in vocabulary.slots.values() for token in (texts[0][0], texts[1][0])} | {vocabulary.end}
    preferred |= {vocabulary.stops["."][0], vocabulary.stops["\n-"][0]}
    preferred |= {llm.encode(text)[0] for text in (" the", " The", "The", " your", " may")}
    while True:
        tokens = decoder.allowed_tokens()
        if not tokens:
            return None
        likely = [token for token in tokens if token in preferred]
        token = rng.choice(likely if likely and rng.random() < 0.6 else tokens)
        if token == vocabulary.end:
            return llm.tokenizer.decode(ids)
        ids.append(token)
        decoder.append(token)
        assert len(ids) <= MAX_TOKENS[constraints.length] + 1


@pytest.mark.parametrize("constraints", CONSTRAINTS)
def test_random_wordings_satisfy_the_constraints(constraints: WordingConstraints, vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    rng = random.Random(1)
    texts = [text for _ in range(150) if (text := _random_wording(constraints, vocabulary, llm, rng))]
    assert len(texts) > 10
    for text in texts:
        wording = restore_slots(text, constraints.slots)
        assert sorted(re.findall(r"\{(\w+)\}", wording)) == sorted(constraints.slots), "each slot once"
        words = {word.casefold() for word in re.findall(r"[a-z'’]{2,}|\ba\b", re.sub(r"\{\w+\}", "", wording), re.IGNORECASE)}
        assert words <= (JOINING_WORDS | STORE_WORDS | COMMENTING_WORDS) - NEGATION_WORDS
        if not constraints.confident:
            assert words & HEDGE_WORDS
        if constraints.anchor_only_viewed:
            assert not words & OWNERSHIP_WORDS
        assert re.search(r"\b[Tt]he \{item\}", wording) or wording.startswith("{item}")
        assert "{own}" not in wording or re.search(r"\b(?:the|your) \{own\}", wording, re.IGNORECASE)
        assert ("\n" in wording) <= (constraints.length == "bullets")
        for sentence in re.split(r"(?<=\.) ", wording.split("\n")[0]):
            assert sentence[0].isupper() or sentence[0] == "{"


def test_most_handwritten_wordings_are_decodable(vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    """The model is trained on decodable wordings only."""
    decodable = [
        is_decodable(
            vocabulary,
            WordingConstraints(wording.slots, wording.confident, wording.occasion == "seen", wording.length, relaxed=True),
            llm.encode(slots_to_letters(wording.text)),
        )
        for wording in handwritten_wordings()
    ]
    assert len(decodable) >= 500
    assert sum(decodable) >= 400


def test_handwritten_wordings_vary() -> None:
    """The same six words begin at most a fiftieth of the wordings of a length."""
    for length in ("line", "paragraph", "bullets"):
        openings = [" ".join(wording.text.split()[:6]) for wording in handwritten_wordings() if wording.length == length]
        assert max(openings.count(opening) for opening in openings) <= max(1, len(openings) // 50)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("With your {own}, the {item} is durable: {figure}.", "a word outside the vocabulary"),
        ("With your {own}, the {item} is not a natural next step: {figure}.", "a negation"),
        ("With your {own}, the {item} is next.", "a missing fact"),
        ("With your {own}, the {item} is next: {figure}, {figure}.", "a repeated fact"),
        ("With your {own}, {item} is next: {figure}.", "a name without an article"),
        ("with your {own}, the {item} is next: {figure}.", "no capital letter"),
        ("With your {own}, the {item} is next: {figure}", "no full stop"),
        ("With your {own}, the {item} is next:\n- {figure}", "an unrequested list"),
    ],
)
def test_wordings_that_violate_a_constraint_are_not_decodable(text: str, why: str, vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    constraints = WordingConstraints(frozenset({"own", "item", "figure"}), True, False, "line")
    assert is_decodable(vocabulary, constraints, llm.encode(slots_to_letters("With your {own}, the {item} is next: {figure}.")))
    assert not is_decodable(vocabulary, constraints, llm.encode(slots_to_letters(text))), why


def test_weak_facts_need_a_hedge_and_a_viewed_anchor_is_not_owned(vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    def decodable(text: str, *, confident: bool, viewed: bool, length: Length = "line") -> bool:
        return is_decodable(
            vocabulary,
            WordingConstraints(frozenset({"own", "item", "close"}), confident, viewed, length),
            llm.encode(slots_to_letters(text)),
        )

    assert not decodable("The {item} goes with the {own}: {close}.", confident=False, viewed=False)
    assert decodable("The {item} may go with the {own}: {close}.", confident=False, viewed=False)
    assert decodable("The {item} may go with your {own}: {close}.", confident=False, viewed=False)
    assert not decodable("The {item} may go with your {own}: {close}.", confident=False, viewed=True)


def test_an_attribution_is_followed_by_a_quote(vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    """No statistic is attributed to a reviewer, no complaint introduced as praise, no praise as a complaint."""

    def decodable(text: str, *facts: str) -> bool:
        constraints = WordingConstraints(frozenset({"own", "item", *facts}), True, False, "paragraph")
        return is_decodable(vocabulary, constraints, llm.encode(slots_to_letters(text)))

    assert decodable("With your {own}, the {item} is next: {figure}. One reviewer wrote {quote}", "figure", "quote")
    assert not decodable("With your {own}, the {item} is next. One reviewer wrote {figure}, and {quote}", "figure", "quote")
    assert not decodable("With your {own}, the {item} is next, says a review: {figure}.", "figure")
    assert decodable("With your {own}, the {item} is next: {figure}. One reservation of a reviewer: {caution}", "figure", "caution")
    assert not decodable("With your {own}, the {item} is next: {figure}. One reviewer wrote {caution}", "figure", "caution")
    assert not decodable("With your {own}, the {item} is next: {figure}. One reservation of a reviewer: {quote}", "figure", "quote")


def _decodable(vocabulary: TokenVocabulary, llm: LanguageModel, text: str, length: Length, *facts: str) -> bool:
    """Whether a wording with the two names and some facts is decodable."""
    constraints = WordingConstraints(frozenset({"own", "item", *facts}), True, False, length)
    return is_decodable(vocabulary, constraints, llm.encode(slots_to_letters(text)))


@pytest.mark.parametrize(
    "text",
    [
        "Since you have the {own}, have you thought of the {item}? In our store, {figure}.",
        "Have you thought of the {item}? It goes with your {own}: {figure}.",
        "Have you thought of the {item} for your {own}? In our store, {figure}.",
        "The {item} goes with your {own}. In our store, {figure}.",
        "In our store, {figure}. You might think of the {item} for your {own}.",
    ],
)
def test_a_line_has_two_sentences_of_which_the_first_may_be_a_question(text: str, vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    assert _decodable(vocabulary, llm, text, "line", "figure")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("In our store, {figure}. Have you thought of the {item} for your {own}?", "a question at the end"),
        ("Have you thought of the {item} for your {own}: {figure}?", "nothing but a question"),
        ("Have you thought of the {item} for your {own}, as {figure}? It might be next.", "no fact after the question"),
        ("Have you thought of this? The {item} goes with your {own}: {figure}.", "a question without a slot"),
        ("You might think of this. The {item} goes with your {own}: {figure}.", "a sentence without a slot"),
        ("The {item} goes with your {own}: {figure}. It might be next.", "a sentence without a slot at the end"),
        ("Have you thought of the {item}?? It goes with your {own}: {figure}.", "two question marks"),
        ("Have you thought of the {item}? it goes with your {own}: {figure}.", "no capital letter after the question"),
        ("Have you thought of the {item}? It goes with your {own}. In our store, {figure}.", "three sentences"),
    ],
)
def test_lines_with_other_questions_or_sentences_are_not_decodable(
    text: str, why: str, vocabulary: TokenVocabulary, llm: LanguageModel
) -> None:
    assert not _decodable(vocabulary, llm, text, "line", "figure"), why


def test_a_paragraph_has_three_sentences(vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    text = "Have you thought of the {item}? It goes with your {own}. In our store, {figure}."
    assert _decodable(vocabulary, llm, text, "paragraph", "figure")
    assert not _decodable(vocabulary, llm, f"{text.removesuffix('.')}. It might be next: {{price}}.", "paragraph", "figure", "price")


def test_a_question_does_not_announce_a_quote(vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    """The sentence with the attribution contains the quote."""
    ending = "For your {own}, {figure}. One reviewer wrote {quote}"
    assert _decodable(vocabulary, llm, f"Have you thought of the {{item}}? {ending}", "paragraph", "figure", "quote")
    assert not _decodable(vocabulary, llm, f"Have you read a review of the {{item}}? {ending}", "paragraph", "figure", "quote")


BULLETS = "\n- {figure}\n- {price}"


@pytest.mark.parametrize(
    "text",
    [
        f"The {{item}} goes with your {{own}}:{BULLETS}",
        f"Have you thought of the {{item}} for your {{own}}?{BULLETS}",
        f"Have you thought of the {{item}} for your {{own}}? Here is why:{BULLETS}",
        f"Have you thought of the {{item}}? It goes with your {{own}}:{BULLETS}",
        f"The {{item}} goes with your {{own}}. Here is why:{BULLETS}",
        f"The {{item}} goes with your {{own}}:{BULLETS}.",
    ],
)
def test_a_list_begins_with_one_or_two_sentences(text: str, vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    assert _decodable(vocabulary, llm, text, "bullets", "figure", "price")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"Have you thought of the {{item}}? It goes with your {{own}}. Here is why:{BULLETS}", "three sentences before the list"),
        (f"Have you thought of this? The {{item}} goes with your {{own}}:{BULLETS}", "a question without a slot"),
        ("The {item} goes with your {own}:\n- {figure}. It might be next.\n- {price}", "a sentence between two bullets"),
        ("The {item} goes with your {own}:\n- {figure}?\n- {price}", "a question in a bullet"),
        (f"The {{item}} goes with your {{own}}:{BULLETS}. It might be next.", "a sentence after the last bullet"),
        (f"The {{item}} goes with your {{own}}:{BULLETS}\n- it might be next", "a bullet without a fact"),
        ("The {item} goes with your {own}:\n- {figure}, {price}", "a single bullet"),
    ],
)
def test_lists_with_other_sentences_are_not_decodable(text: str, why: str, vocabulary: TokenVocabulary, llm: LanguageModel) -> None:
    assert not _decodable(vocabulary, llm, text, "bullets", "figure", "price"), why


def test_letters_are_restored_to_slots() -> None:
    for wording in handwritten_wordings():
        assert restore_slots(slots_to_letters(wording.text), wording.slots) == wording.text
    assert restore_slots("X is Xylophone, X's own", {"own"}) == "{own} is Xylophone, X's own"
    assert restore_slots("A Y", {"own"}) == "A Y", "other letters are kept"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"slots": ["own", "item"]}, "each slot must occur exactly once"),
        ({"slots": ["own", "item", "figure", "moon"]}, "unknown slots: moon"),
        ({"tone": "loud"}, "'loud' is not one of plain, warm, expert"),
    ],
)
def test_invalid_lines_are_refused(changed: dict[str, object], why: str) -> None:
    line = {"tone": "warm", "length": "line", "strength": "firm", "occasion": "owned", "categories": ["A", "B"]}
    line |= {"slots": ["own", "item", "figure"], "text": "With your {own}, the {item} is next: {figure}."}
    assert parse_wording(line).confident
    with pytest.raises(ValueError, match=why):
        parse_wording({**line, **changed})


def test_every_letter_is_one_token(llm: LanguageModel) -> None:
    assert all(len(llm.encode(f" {letter}")) == 1 for letter in SLOT_LETTERS.values())
