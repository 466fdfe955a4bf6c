"""Explanations for customers, marketers and analysts: texts without counts, texts for a mail, and lists of all facts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from crossaisle.data.errors import QueryError
from crossaisle.data.records import CustomerCopy, Evidence, Explanation
from crossaisle.llm.explain.audiences import (
    AUDIENCES,
    MAX_SUBJECT_CHARS,
    Audience,
    Style,
    explain_for,
    for_analyst,
    for_customer,
    with_customer_copy,
)
from crossaisle.llm.explain.explainer import Explainer
from crossaisle.llm.explain.grounding import grounding_faults
from crossaisle.llm.explain.reasons import Reason
from crossaisle.llm.explain.slots import SupportStatistic, fill_slots

ITEM, OWN = "Velmora Power Bank", "Mossgard Camping Lantern"
AISLES = "40 of 144 shoppers who bought from Camping also bought from Audio, 1.3 times the usual share"
FRESH = "it was bought by 23 shoppers in the last 30 days of the store"
PRICE = "it costs 24.90, below the price level that you usually choose"
CABLE = "The cable broke after a month."
TEXT = f"With your {OWN}, the {ITEM} could be next: both are for camping."


def counted_reason(support: int = 14) -> Reason:
    """The reason of a power bank that `support` of 26 shoppers with a lantern bought."""
    statistic = SupportStatistic(support, 26, "bought", OWN, ITEM)
    share = f"{support} of 26 shoppers who bought {OWN} also bought {ITEM}, 4.9 times the usual share"
    return Reason(
        item=ITEM,
        anchor=OWN,
        anchor_purchased=True,
        need=None,
        evidence=(
            Evidence("use", "both are for camping", "lantern", 2.1, "e1"),
            Evidence("association", share, "lantern", 4.9, "e2"),
            Evidence("review", CABLE, "bank", 0.4, "e3", against=True),
            Evidence("association", AISLES, None, 1.3, "e4"),
            Evidence("attribute", FRESH, "bank", 23.0, "e5"),
            Evidence("attribute", PRICE, "bank", 24.9, "e6"),
        ),
        clauses=("both are for camping.", f"{statistic.clause(('own', 'item'))}.", f"{AISLES}."),
        has_statistic=False,
        plain_sentence=f"{statistic.clause(())}.",
        slot_values={
            "use": "camping",
            "figure": statistic,
            "usual": "4.9 times the usual share",
            "aisles": AISLES,
            "fresh": FRESH,
            "price": PRICE,
        },
        claim_evidence=("e1", "e2"),
    )


# ------------------------------------------------------------------ style


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tone": "loud"}, "the tone of explanations must be one of plain, warm, expert, not 'loud'"),
        ({"length": "novel"}, "the length of explanations must be one of line, paragraph, bullets, not 'novel'"),
        ({"audience": "nobody"}, "the audience of explanations must be one of customer, marketer, analyst, not 'nobody'"),
        ({"audience": ""}, "the audience of explanations must be one of customer, marketer, analyst, not ''"),
    ],
)
def test_unknown_values_of_a_style_are_rejected_with_the_options(values: dict[str, str], message: str) -> None:
    with pytest.raises(QueryError) as raised:
        Style(**values)  # type: ignore[arg-type]
    assert str(raised.value) == message


# ------------------------------------------------------------------ customer


@pytest.mark.parametrize(("support", "share"), [(1, "some"), (13, "some"), (14, "most"), (26, "most")])
def test_counts_become_most_or_some(support: int, share: str) -> None:
    shown = for_customer(counted_reason(support))
    assert shown.plain_sentence == f"{share.capitalize()} shoppers who bought the {OWN} also bought the {ITEM}."
    assert shown.clauses == (
        "both are for camping.",
        f"{share} shoppers who bought the same one also bought this one.",
        "some shoppers who bought from Camping also bought from Audio, more often than usual.",
    )


def test_other_figures_of_shoppers_become_words_and_prices_stay() -> None:
    values = for_customer(counted_reason()).slot_values
    assert values["usual"] == "more often than usual"
    assert values["fresh"] == "it was bought by other shoppers lately"
    assert values["price"] == PRICE
    assert values["use"] == "camping"


@pytest.mark.parametrize("people", ["shoppers", "learners", "club members"])
def test_recent_users_lose_their_count_in_the_words_of_each_store(people: str) -> None:
    fresh = FRESH.replace("shoppers", people)
    shown = for_customer(replace(counted_reason(), slot_values={"fresh": fresh}))
    assert shown.slot_values["fresh"] == f"it was bought by other {people} lately"


def test_the_evidence_of_a_customer_keeps_its_figures() -> None:
    reason = counted_reason()
    shown = for_customer(reason)
    assert shown.evidence == reason.evidence
    assert (shown.item, shown.anchor, shown.claim_evidence) == (reason.item, reason.anchor, reason.claim_evidence)


def texts_of(reason: Reason) -> list[str]:
    """All texts that are made of a reason: its plain sentence, a filled wording, and its clauses."""
    wording = "The {item} goes with your {own}: {figure}, {usual}, and {fresh}. {aisles}."
    filled = fill_slots(wording, {**reason.slot_values, "item": reason.item, "own": str(reason.anchor)})
    return [reason.plain_sentence, filled.text, *(f"The {reason.item}: {clause}" for clause in reason.clauses)]


@pytest.mark.parametrize("support", [13, 14])
def test_every_text_for_a_customer_is_grounded_and_has_no_count(support: int) -> None:
    assert sum(bool(re.search(r"\d", text)) for text in texts_of(counted_reason(support))) == 4
    shown = for_customer(counted_reason(support))
    for text in texts_of(shown):
        assert not re.search(r"\d", text), text
        assert grounding_faults(text, shown.product_names, shown.evidence) == [], text


def test_a_name_with_a_share_in_it_is_left_as_it_is() -> None:
    name = "Lesson 3 of 5 Paint Set"
    reason = replace(
        counted_reason(),
        item=name,
        clauses=(f"it fits the {name}.",),
        plain_sentence=f"14 of 26 shoppers who bought the {OWN} also bought the {name}.",
        slot_values={"fits": f"it fits the {name}"},
    )
    shown = for_customer(reason)
    assert shown.plain_sentence == f"Most shoppers who bought the {OWN} also bought the {name}."
    assert shown.clauses == reason.clauses
    assert shown.slot_values == reason.slot_values
    close = replace(reason, plain_sentence=f"The {name} is close in description to the {OWN}.")
    assert for_customer(close).plain_sentence == close.plain_sentence


# ------------------------------------------------------------------ texts for a mail


def customer_copy(reason: Reason, category: str | None = None) -> CustomerCopy:
    """The texts for a mail of a reason whose explanation is `TEXT`."""
    copy = with_customer_copy(Explanation(TEXT, "wording", True, reason.evidence), reason, category).customer_copy
    assert copy is not None
    return copy


@pytest.mark.parametrize(
    ("slots", "purchased", "subject"),
    [
        ({"use": "camping"}, True, f"For camping: the {ITEM}"),
        ({"purpose": "camping"}, True, f"For camping: the {ITEM}"),
        ({}, True, f"To go with your {OWN}: the {ITEM}"),
        ({}, False, f"To go with the {OWN}: the {ITEM}"),
        ({"use": "sailing"}, True, f"To go with your {OWN}: the {ITEM}"),  # no fact says that it is for sailing
    ],
)
def test_the_subject_says_what_the_item_is_for_or_goes_with(slots: dict[str, str], purchased: bool, subject: str) -> None:
    reason = replace(for_customer(counted_reason()), slot_values=slots, anchor_purchased=purchased)
    assert customer_copy(reason).subject == subject


def test_the_subject_repeats_what_the_shopper_said() -> None:
    need = Evidence("need", "a weekend in the hills", "bank", 0.3, "e7")
    reason = counted_reason()
    reason = replace(reason, anchor=None, need=need.text, evidence=(*reason.evidence, need), slot_values={})
    assert customer_copy(reason).subject == f"For “a weekend in the hills”: the {ITEM}"


def test_a_subject_is_at_most_70_letters_and_else_the_name_of_the_item() -> None:
    reason = for_customer(counted_reason())
    fitting, longer = "B" * 53, "B" * 54
    assert customer_copy(replace(reason, item=fitting)).subject == f"For camping: the {fitting}"
    assert len(f"For camping: the {fitting}") == MAX_SUBJECT_CHARS == 70
    assert customer_copy(replace(reason, item=longer)).subject == longer


def test_the_line_is_the_plain_sentence_or_else_the_text() -> None:
    reason = for_customer(counted_reason())
    assert customer_copy(reason).line == f"Most shoppers who bought the {OWN} also bought the {ITEM}."
    assert customer_copy(replace(reason, plain_sentence="")).line == TEXT
    assert customer_copy(replace(reason, plain_sentence=f"Everyone needs the {ITEM} in 2031.")).line == TEXT


def test_the_alternative_text_has_the_category() -> None:
    reason = for_customer(counted_reason())
    assert customer_copy(reason, "Chargers").alternative_text == f"{ITEM}, Chargers"
    assert customer_copy(reason).alternative_text == ITEM


def test_without_a_text_there_is_nothing_for_a_mail() -> None:
    reason = for_customer(counted_reason())
    empty = Explanation("", "none", False, reason.evidence)
    assert with_customer_copy(empty, reason, "Chargers") == empty


# ------------------------------------------------------------------ analyst


def test_an_analyst_gets_each_fact_once_and_complaints_last() -> None:
    reason = counted_reason()
    explanation = for_analyst(reason)
    assert explanation.text.split("\n") == [
        f"{ITEM}, because of the {OWN}:",
        "- both are for camping (e1)",
        f"- 14 of 26 shoppers who bought {OWN} also bought {ITEM}, 4.9 times the usual share (e2)",
        f"- {AISLES} (e4)",
        f"- {FRESH} (e5)",
        f"- {PRICE} (e6)",
        f"- against it, a reviewer wrote “{CABLE}” (e3)",
    ]
    assert (explanation.source, explanation.verified, explanation.evidence) == ("evidence", True, reason.evidence)
    assert {claim.evidence_id: claim.text for claim in explanation.claims} == {fact.evidence_id: fact.text for fact in reason.evidence}
    assert all(claim.text in explanation.text for claim in explanation.claims)
    assert len(explanation.claims) == len(reason.evidence)


def test_an_analyst_reads_whose_words_they_are() -> None:
    said, praise = Evidence("need", "a weekend in the hills", None, 0.3, "e1"), Evidence("review", "Charges two phones.", "bank", 0.5, "e2")
    explanation = for_analyst(replace(counted_reason(), anchor=None, need=said.text, evidence=(said, praise)))
    assert explanation.text.split("\n") == [
        f"{ITEM}:",
        "- the shopper said “a weekend in the hills” (e1)",
        "- a reviewer wrote “Charges two phones.” (e2)",
    ]


def test_an_analyst_gets_no_text_without_facts() -> None:
    assert for_analyst(replace(counted_reason(), evidence=())) == Explanation("", "none", False)


# ------------------------------------------------------------------ all audiences


@pytest.mark.parametrize("audience", AUDIENCES)
def test_explanations_are_the_same_one_by_one_and_as_a_list(audience: Audience) -> None:
    reasons = [counted_reason(), counted_reason(13), replace(counted_reason(), plain_sentence="")]
    style, categories = Style(audience=audience), ["Chargers", None, "Chargers"]
    streamed: list[tuple[int, Explanation]] = []
    explanations = explain_for(Explainer(None), reasons, style, categories, lambda *ready: streamed.append(ready))
    assert sorted(streamed, key=lambda ready: ready[0]) == list(enumerate(explanations))
    assert len(explanations) == len(reasons)
    assert explain_for(Explainer(None), reasons, style, categories) == explanations


def test_each_audience_reads_its_own_text_of_the_same_evidence() -> None:
    explanations = {
        audience: explain_for(Explainer(None), [counted_reason()], Style(audience=audience), ["Chargers"])[0] for audience in AUDIENCES
    }
    customer, marketer, analyst = (explanations[audience] for audience in ("customer", "marketer", "analyst"))
    assert marketer.text == f"14 of 26 shoppers who bought the {OWN} also bought the {ITEM}."
    assert customer.text == f"Most shoppers who bought the {OWN} also bought the {ITEM}."
    assert customer.customer_copy == CustomerCopy(f"For camping: the {ITEM}", customer.text, f"{ITEM}, Chargers")
    assert marketer.customer_copy is analyst.customer_copy is None
    assert analyst.text == for_analyst(counted_reason()).text
    assert customer.evidence == marketer.evidence == analyst.evidence == counted_reason().evidence
