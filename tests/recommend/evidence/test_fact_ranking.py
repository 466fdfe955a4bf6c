"""Which fact is told first: a figure of shoppers, then what persuades and moved the score."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.records import Evidence
from crossaisle.recommend.evidence.fact_ranking import PERSUASIVENESS, SUPPORTING_CHANNELS, RankedFacts


def facts(moved: dict[str, float], *kinds: str) -> RankedFacts:
    found = RankedFacts(moved)
    for kind in kinds:
        found.add(kind, Evidence("attribute", kind, "x"), f"{kind} clause", f"{kind} sentence", **{kind: kind})
    return found


def order(moved: dict[str, float], *kinds: str) -> list[str]:
    return [fact.text for fact in facts(moved, *kinds).reason("Stove").evidence]


def test_a_figure_leads_and_a_reservation_comes_last() -> None:
    assert order({"profile": 1.0}, "caution", "price", "quote", "figure") == ["figure", "price", "quote", "caution"]


def test_what_moved_the_score_comes_before_what_did_not() -> None:
    assert order({}, "price", "quote") == ["quote", "price"]
    assert order({"profile": 0.7, "semantic": 0.1}, "price", "quote") == ["price", "quote"]
    assert order({"semantic": 0.1, "complements": 0.2}, "price", "brand", "quote") == ["quote", "brand", "price"]


@given(st.permutations(sorted(PERSUASIVENESS)), st.dictionaries(st.sampled_from(["semantic", "graph", "profile", "lately"]), st.floats(0, 0.25)))
def test_ids_clauses_and_slots_follow_the_order(kinds: list[str], moved: dict[str, float]) -> None:
    reason = facts(moved, *kinds).reason("Stove", owned="Tent", has=True)
    assert [fact.evidence_id for fact in reason.evidence] == [f"e{n}" for n in range(1, len(kinds) + 1)]
    assert [*reason.slot_values] == [fact.text for fact in reason.evidence]
    assert reason.clauses[0] == f"{reason.evidence[0].text} clause"
    assert reason.claim_evidence == ("e1", "e1")
    assert {reason.slot_evidence[fact.text] for fact in reason.evidence} == {fact.evidence_id for fact in reason.evidence}
    assert all(reason.evidence[int(reason.slot_evidence[kind][1:]) - 1].text == kind for kind in kinds)


def test_every_fact_that_a_channel_bears_has_a_rating() -> None:
    assert SUPPORTING_CHANNELS.keys() <= PERSUASIVENESS.keys()
