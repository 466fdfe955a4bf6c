"""Order of the facts: a count of shoppers first, then by persuasiveness and contribution to the score."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.records import Evidence
from crossaisle.recommend.evidence.fact_ranking import PERSUASIVENESS, SUPPORTING_CHANNELS, RankedFacts
from crossaisle.recommend.ranking.features import CHANNELS


def facts(channel_shares: dict[str, float], *kinds: str) -> RankedFacts:
    ranked = RankedFacts(channel_shares)
    for kind in kinds:
        ranked.add(kind, Evidence("attribute", kind, "x"), f"{kind} clause", f"{kind} sentence", **{kind: kind})
    return ranked


def order(channel_shares: dict[str, float], *kinds: str) -> list[str]:
    return [fact.text for fact in facts(channel_shares, *kinds).reason("Stove").evidence]


def test_a_count_of_shoppers_comes_first_and_a_complaint_last() -> None:
    assert order({"profile": 1.0}, "caution", "price", "quote", "figure") == ["figure", "price", "quote", "caution"]


def test_facts_with_a_contribution_to_the_score_come_first() -> None:
    assert order({}, "price", "quote") == ["quote", "price"]
    assert order({"profile": 0.7, "semantic": 0.1}, "price", "quote") == ["price", "quote"]
    assert order({"semantic": 0.1, "complements": 0.2}, "price", "brand", "quote") == ["quote", "brand", "price"]


@given(
    st.permutations(sorted(PERSUASIVENESS)),
    st.dictionaries(st.sampled_from(["semantic", "graph", "profile", "lately"]), st.floats(0, 0.25)),
)
def test_ids_clauses_and_slots_follow_the_order(kinds: list[str], channel_shares: dict[str, float]) -> None:
    reason = facts(channel_shares, *kinds).reason("Stove", anchor="Tent", anchor_purchased=True)
    assert [fact.evidence_id for fact in reason.evidence] == [f"e{n}" for n in range(1, len(kinds) + 1)]
    assert [*reason.slot_values] == [fact.text for fact in reason.evidence]
    assert reason.clauses[0] == f"{reason.evidence[0].text} clause"
    assert reason.claim_evidence == ("e1", "e1")
    assert {reason.slot_evidence[fact.text] for fact in reason.evidence} == {fact.evidence_id for fact in reason.evidence}
    assert all(reason.evidence[int(reason.slot_evidence[kind][1:]) - 1].text == kind for kind in kinds)


def test_every_fact_with_supporting_channels_has_a_persuasiveness() -> None:
    assert SUPPORTING_CHANNELS.keys() <= PERSUASIVENESS.keys()


def test_every_channel_of_the_package_supports_a_kind_of_fact() -> None:
    assert {channel for channels in SUPPORTING_CHANNELS.values() for channel in channels} == {*CHANNELS, "profile"}
