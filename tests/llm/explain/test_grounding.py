"""Grounding: sentences that contain only what their evidence supports."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossaisle.data.records import Evidence
from crossaisle.llm.explain.grounding import grounding_faults

NAMES = ("Emberlo Camp Stove", 'Nordlo 7" Trail Tent')
EVIDENCE = (
    Evidence("history", 'The shopper has the Nordlo 7" Trail Tent.', "t"),
    Evidence("association", "14 of 120 shoppers who bought the tent also bought the stove, 4.1 times the usual share.", "t", 4.1),
    Evidence("attribute", "The stove costs 49.90 and runs on gas.", "s"),
    Evidence("review", "Boils a litre in 3 minutes, even in gusty rain.", "s"),
    Evidence("need", "a weekend in the rain", None),
)

GOOD = [
    'With your Nordlo 7" Trail Tent, the Emberlo Camp Stove could be next.',
    "14 of 120 shoppers who bought the tent also bought the Emberlo Camp Stove.",
    "The Emberlo Camp Stove runs on gas.",
    "The Emberlo Camp Stove: “Boils a litre in 3 minutes, even in gusty rain.”",
    'The Emberlo Camp Stove: "even in gusty rain"',
    "You said “a weekend in the rain”: the Emberlo Camp Stove costs 49.90.",
    "THE Emberlo Camp Stove IS ON GAS",
]

BAD = [
    ("", "it is empty"),
    ("  ", "it is empty"),
    ("The stove is next.", "does not name the item"),
    ('The Nordlo 7" Trail Tent is next.', "does not name the item"),
    ("The emberlo camp stove is next.", "does not name the item"),
    ("15 of 120 shoppers also bought the Emberlo Camp Stove.", "the number 15"),
    ("The Emberlo Camp Stove costs 49.", "the number 49 "),
    ("The Emberlo Camp Stove costs 49.9.", "the number 49.9 "),
    ("The Emberlo Camp Stove costs 4990.", "the number 4990"),
    ("In 3 minutes the Emberlo Camp Stove is on.", "the number 3 "),
    ('The Emberlo Camp Stove goes with the Nordlo 8" Trail Tent.', "the number 8 "),
    ("The Emberlo Camp Stove goes with your Glimlo Tent.", "“Glimlo”"),
    ("The Emberlo Camp Stove is waterproof.", "“waterproof”"),
    ("The stylish Emberlo Camp Stove.", "“stylish”"),
    ("The durable, safe Emberlo Camp Stove.", "“durable”"),
    ("The Emberlo Camp Stove is gusty.", "“gusty”"),
    ("Anna has the Emberlo Camp Stove.", "“Anna”"),
    ("The Emberlo Camp Stove: “Boils two litres in 3 minutes”", "the quotation “Boils two litres in 3 minutes” is nobody's"),
    ("The Emberlo Camp Stove: “boils a litre”", "the quotation “boils a litre” is nobody's"),
    ("The Emberlo Camp Stove: “runs on gas”", "the quotation “runs on gas” is nobody's"),
    ("The Emberlo Camp Stove: “even in gusty rain", "a quotation does not close"),
    ("The Emberlo Camp Stove: even in gusty rain”", "a quotation does not close"),
    ('The Emberlo Camp Stove: “even in "gusty rain"”', "“gusty”"),
    ("The Emberlo Camp Stove: “”", "the quotation “” is nobody's"),
    ("The Emberlo Camp Stove: “oils a litre”", "the quotation “oils a litre” is nobody's"),
    ("The Emberlo Camp Stove: “Boils a lit”", "the quotation “Boils a lit” is nobody's"),
    ("14 % of shoppers also bought the Emberlo Camp Stove.", "the sign % is"),
    ("The Emberlo Camp Stove costs €49.90.", "the sign € is"),
    ("The Emberlo Camp Stove ★★★★★", "the sign ★ is"),
    ("The Emberlo Camp Stove is {{ reason }}.", "a slot"),
    ("The Emberlo Camp Stove is [next].", "a slot"),
    ("The Emberlo Camp Stove is <b>next</b>.", "a tag"),
    ("The Emberlo Camp Stove\nis next.", "line break"),
    ("Der Emberlo Camp Stove ist next.", "“Der”"),
    ("The Emberlo Camp Stove 保温.", "“保温”"),
]


@pytest.mark.parametrize("text", GOOD)
def test_supported_sentences_have_no_faults(text: str) -> None:
    assert grounding_faults(text, NAMES, EVIDENCE) == []


@pytest.mark.parametrize(("text", "fault"), BAD)
def test_unsupported_sentences_have_faults(text: str, fault: str) -> None:
    faults = grounding_faults(text, NAMES, EVIDENCE)
    assert any(fault in message for message in faults), faults


def test_all_faults_are_returned() -> None:
    assert len(grounding_faults("The waterproof stove, 9 of 10: “I love it”", NAMES, EVIDENCE)) == 6


def test_a_word_needs_evidence_other_than_a_review() -> None:
    text = "The waterproof Emberlo Camp Stove."
    assert grounding_faults(text, NAMES, EVIDENCE)
    assert grounding_faults(text, NAMES, [*EVIDENCE, Evidence("attribute", "It is waterproof.", "s")]) == []
    # The words of a reviewer may occur in a quote only.
    assert grounding_faults(text, NAMES, [*EVIDENCE, Evidence("review", "It is waterproof.", "s")])


def test_without_evidence_only_joining_words_and_names_pass() -> None:
    assert grounding_faults('With your Nordlo 7" Trail Tent, the Emberlo Camp Stove could be next.', NAMES, []) == []
    assert grounding_faults("14 of 120 shoppers also bought the Emberlo Camp Stove.", NAMES, [])


WORDS = st.sampled_from(["gas", "runs", "steel", "kettle", "l'eau", "weekend-bag", "größe", "鍋", "12", "4.5", "1,200", "7"])


@given(st.lists(WORDS, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_words_of_the_evidence_pass_in_any_order_and_others_do_not(words: list[str], order: object) -> None:
    mixed = list(words)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    evidence = [Evidence("attribute", " ".join(words), "s")]
    text = f"Emberlo Camp Stove {' '.join(mixed)}"
    assert grounding_faults(text, NAMES, evidence) == []
    assert grounding_faults(f"{text} guaranteed", NAMES, evidence) == ["“guaranteed” is not in the evidence"]
    assert grounding_faults(f"{text} 99", NAMES, evidence) == ["the number 99 is not in the evidence"]


@given(st.text(max_size=80), st.sampled_from(["review", "need"]))
@settings(max_examples=200, deadline=None)
def test_a_quote_that_is_not_verbatim_is_a_fault(text: str, kind: str) -> None:
    quotable = "".join(c for c in text if c not in '"“”{}[]<>\n')
    assume(quotable.strip())
    evidence = [Evidence(kind, f"{quotable} and so on", "s")]  # type: ignore[arg-type]
    assert grounding_faults(f"Emberlo Camp Stove: “{quotable}”", NAMES, evidence) == []
    altered = quotable + "!x!"
    assert grounding_faults(f"Emberlo Camp Stove: “{altered}”", NAMES, evidence) == [f"the quotation “{altered}” is nobody's"]


@pytest.mark.parametrize(
    ("fact", "true", "false", "fault"),
    [
        ("12 of 26 shoppers", "12 of 26 shoppers", "26 of 12 shoppers", "26 of 12"),
        ("12 of 26 shoppers", "12 of 26 shoppers", "12 of 12 shoppers", "12 of 12"),
        ("4 of 12 shoppers, 3 times the usual share", "3 times the usual share", "4 times the usual share", "4 times"),
        ("4 of 12 shoppers, 3 times the usual share", "4 of 12 shoppers", "12 times the usual share", "12 times"),
        ("3 of 9 shoppers, 1.3 times the usual share", "1.3 times the usual share", "3 times the usual share", "3 times"),
    ],
)
def test_the_parts_of_a_statistic_keep_their_places(fact: str, true: str, false: str, fault: str) -> None:
    evidence = [Evidence("association", fact, "t")]
    assert grounding_faults(f"The Emberlo Camp Stove: {true}.", NAMES, evidence) == []
    assert grounding_faults(f"The Emberlo Camp Stove: {false}.", NAMES, evidence) == [f"“{fault}” is not in the evidence"]


@pytest.mark.parametrize(("share", "is_most"), [("13 of 26", False), ("14 of 26", True), ("26 of 26", True), ("a few", False)])
def test_most_is_more_than_half(share: str, is_most: bool) -> None:
    evidence = [Evidence("association", f"{share} shoppers who bought the tent also bought the stove", "t")]
    for most in ("Most", "most"):
        text = f"{most} shoppers who bought the tent also bought the Emberlo Camp Stove."
        assert grounding_faults(text, NAMES, evidence) == ([] if is_most else ["“most” is not in the evidence"])
    assert grounding_faults("Some shoppers who bought the tent also bought the Emberlo Camp Stove.", NAMES, evidence) == []


def test_most_in_a_quotation_or_a_name_is_no_count() -> None:
    praise = Evidence("review", "The most useful thing in the tent.", "s")
    assert grounding_faults(f"The Emberlo Camp Stove: “{praise.text}”", NAMES, [praise]) == []
    assert grounding_faults("The Most Useful Stove is next.", ["Most Useful Stove"], []) == []
