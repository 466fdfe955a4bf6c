"""Former names are read in their present spelling; present and unknown names are unchanged."""

from __future__ import annotations

import pytest

from crossaisle.data import former_names
from crossaisle.recommend.ranking.features import CHANNELS
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS


def test_former_names_lead_to_channels_that_exist() -> None:
    assert set(former_names.CHANNELS.values()) <= set(CHANNELS)
    assert not set(former_names.CHANNELS) & {*CHANNELS, *TRAINABLE_CHANNELS}


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("follows", "sequential"),
        ("together", "co_occurrence"),
        ("smoothed", "text_smoothed"),
        ("neighbours", "item_knn"),
        ("graph", "graph"),
    ],
)
def test_a_channel_a_feature_and_an_ablation_have_the_present_name(former: str, present: str) -> None:
    assert former_names.current_channel(former) == present
    assert former_names.current_feature(f"{former}:log share") == f"{present}:log share"
    assert former_names.current_system(f"blend without {former}") == f"blend without {present}"
    assert former_names.current_system(former) == present


def test_a_card_and_a_report_have_present_keys() -> None:
    card = former_names.current_card({"vote": {"weight": 0.5}, "base": "m"})
    assert card == {"llm_weight": {"weight": 0.5}, "base": "m"}
    assert former_names.current_card(card) == card
    settings = {"item-knn cosine": {"config": {"neighbours": 200}}}
    report = {
        "systems": {"blend without follows": 1, "neighbours": 2},
        "candidate_recall": {"together": 3, "union": 4},
        "baselines": settings,
    }
    assert former_names.current_report(report) == {
        "systems": {"blend without sequential": 1, "item_knn": 2},
        "candidate_recall": {"co_occurrence": 3, "union": 4},
        "baselines": settings,  # a setting named `neighbours` is no channel
    }
    assert former_names.current_report({"cases": 3}) == {"cases": 3}
