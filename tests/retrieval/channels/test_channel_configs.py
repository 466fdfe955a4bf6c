"""Configurations of the counted channels, as JSON and as channels."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.retrieval.channels import co_occurrence
from crossaisle.retrieval.channels.behavioural import ItemSimilarity, SequentialCoOccurrence, TextSmoothedCoOccurrence, behavioural_channels
from crossaisle.retrieval.channels.channel_configs import (
    DEFAULT_CONFIGS,
    FORMER_CONFIGS,
    CountedConfig,
    ItemKNNConfig,
    SequentialConfig,
    from_jsonable,
    to_jsonable,
)
from crossaisle.retrieval.channels.text_similarity import TextNeighbors
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events

HISTORIES = [[0, 1, 2], [0, 1], [1, 0], [3, 2], [0, 4, 1]]


def store(order: str) -> tuple[Events, Catalogue, TextNeighbors]:
    ids = list("abcde")
    items = pl.DataFrame({"item_id": ids, "title": ids, "category": [[name] for name in "AABBC"]})
    pairs = [(f"u{user}", ids[row], day) for user, history in enumerate(HISTORIES) for day, row in enumerate(history)]
    table = pl.DataFrame(pairs, schema=["user_id", "item_id", "timestamp"], orient="row").with_columns(kind=pl.lit("purchase"))
    if order == "none":
        table = table.drop("timestamp")
    catalogue = Catalogue.build(items, table, 1)
    return Events.build(table, catalogue), catalogue, TextNeighbors(np.eye(5, dtype=np.float32))


@given(st.fixed_dictionaries({field.name: st.floats(0, 10) for field in fields(SequentialConfig)}))
def test_json_restores_the_configurations(values: dict[str, Any]) -> None:
    configs: dict[str, CountedConfig] = {**DEFAULT_CONFIGS, **FORMER_CONFIGS, "sequential": SequentialConfig(**values)}
    assert from_jsonable(json.loads(json.dumps(to_jsonable(configs)))) == configs


def test_every_class_of_configuration_has_a_default() -> None:
    assert {type(config) for config in DEFAULT_CONFIGS.values()} == set(get_args(CountedConfig))


def test_unknown_channels_and_fields_raise() -> None:
    with pytest.raises(KeyError):
        from_jsonable({"unknown": {}})
    with pytest.raises(TypeError):
        from_jsonable({"item_knn": {"colour": 3}})
    assert from_jsonable({"item_knn": {}}) == {"item_knn": ItemKNNConfig()}  # a field that a later version adds has its default


def test_the_former_configurations_give_the_former_channels() -> None:
    """Names, matrices and decays of the channels in blends of version 0.1, with their constants written out."""
    events, catalogue, neighbors = store("time")
    channels = behavioural_channels(events, catalogue, neighbors, FORMER_CONFIGS)
    assert list(channels) == ["sequential", "item_knn", "co_occurrence", "text_smoothed", "lately"]
    histories = events_histories(events)
    expected = {
        "sequential": co_occurrence.sequential(histories, 5, window=10, shrinkage=20.0, both_directions=False),
        "item_knn": co_occurrence.bm25(histories, 5, max_neighbors=1000, k1=100.0, b=0.25),
        "co_occurrence": co_occurrence.cosine(histories, 5, max_neighbors=1000, shrinkage=0.0, partner_exponent=0.0),
        "text_smoothed": co_occurrence.sequential(histories, 5, window=10, shrinkage=20.0, both_directions=True),
    }
    decays = {"sequential": 0.8, "item_knn": 1.0, "co_occurrence": 1.0, "text_smoothed": 0.8}
    for name, matrix in expected.items():
        channel = channels[name]
        assert isinstance(channel, ItemSimilarity | SequentialCoOccurrence | TextSmoothedCoOccurrence)
        assert channel.matrix.toarray().tolist() == matrix.toarray().tolist(), name
        assert channel.decay == decays[name]
    assert asdict(FORMER_CONFIGS["lately"]) == {"days": 180}


def events_histories(events: Events) -> Any:
    from crossaisle.retrieval.items.ragged import RaggedArray

    return RaggedArray(events.starts, events.row)


def test_channels_are_counted_for_the_given_configurations_only() -> None:
    events, catalogue, neighbors = store("time")
    assert list(behavioural_channels(events, catalogue, neighbors)) == list(DEFAULT_CONFIGS)
    assert list(behavioural_channels(events, catalogue, neighbors, {"lately": DEFAULT_CONFIGS["lately"]})) == ["lately"]
    unordered, catalogue, neighbors = store("none")
    assert unordered.order == "none"
    assert set(behavioural_channels(unordered, catalogue, neighbors)) == set(DEFAULT_CONFIGS) - {"sequential"}
