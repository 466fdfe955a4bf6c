"""The graph in a world with known answers: users with a tent buy the stove next, users with a desk the chair."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from crossaisle.data.errors import NotTrainedError, StaleTrainingError, TrainingError
from crossaisle.retrieval.channels.base import CandidateQuery, LazyAnchorChannel, ServedItems
from crossaisle.retrieval.graph.channel import GraphChannel
from crossaisle.retrieval.graph.edges import ItemLinks, UserItemEdges, entries_at, top_per_row
from crossaisle.retrieval.graph.examples import CategoryEntryExamples, TargetLeakEdges
from crossaisle.retrieval.graph.layers import LayerEdges, modules, sample_layers
from crossaisle.retrieval.graph.loss import GraphLoss
from crossaisle.retrieval.graph.model import GraphConfig, GraphModel, age_weights
from crossaisle.retrieval.graph.neighbor_sampling import AFTER, BEFORE, TOGETHER, TypedEdges
from crossaisle.retrieval.graph.storage import load_graph, save_graph
from crossaisle.retrieval.graph.trainer import MIN_USERS, train_graph
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray

# One item of each category per theme; the first leads to the other two.
THEMES = {
    "camping": ("trail tent", "camping stove", "camp lantern batteries"),
    "office": ("standing desk", "ergonomic office chair", "desk calendar"),
    "dogs": ("dog kennel", "dog bed", "dog shampoo"),
    "coffee": ("espresso machine", "coffee grinder", "descaling tablets for coffee machines"),
    "music": ("electric piano", "piano stool", "sheet music folder"),
    "garden": ("greenhouse", "watering can", "tomato seeds"),
    "babies": ("baby crib", "baby monitor", "baby wipes"),
    "bicycles": ("mountain bike", "bicycle helmet", "bicycle chain oil"),
}
CATEGORY_NAMES = ("Large", "Tools", "Supplies")
ITEMS = [title for theme in THEMES.values() for title in theme] + ["gift card", "paper bag", "phone case", "water bottle"]
CATEGORIES = [name for _ in THEMES for name in CATEGORY_NAMES] + ["Extras", "Extras", "Tools", "Supplies"]
SMALL = GraphConfig(size=32, epochs=12, few=10, rate=5e-3, batch=64)
DAY = 86_400_000


def shop(users: int, seed: int) -> dict[str, list[str]]:
    """Histories by user. Half begin with a gift card; one in eight leaves its theme; phone case and bottle are the most popular items."""
    rng = np.random.default_rng(seed)
    themes, histories = list(THEMES.values()), {}
    for user in range(users):
        first, second, third = themes[rng.integers(len(themes))]
        if rng.random() < 0.125:
            second = themes[rng.integers(len(themes))][1]
        history = [*(["gift card"] if rng.random() < 0.5 else []), first, second, *(["phone case"] if rng.random() < 0.5 else [])]
        histories[f"u{user}"] = [*history, *(["water bottle"] if rng.random() < 0.5 else []), *([third] if rng.random() < 0.7 else [])]
    return histories


def tables(histories: dict[str, list[str]], kind: str = "purchase") -> tuple[pl.DataFrame, pl.DataFrame]:
    items = pl.DataFrame({"item_id": ITEMS, "title": ITEMS, "category": [[name] for name in CATEGORIES]})
    events = [(user, item, kind, day * DAY) for user, history in histories.items() for day, item in enumerate(history)]
    return items, pl.DataFrame(events, schema=["user_id", "item_id", "kind", "timestamp"], orient="row").sort("user_id", "timestamp")


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> NDArray[np.float32]:
    return embedder.encode(ITEMS)


def trained(
    vectors: NDArray[np.float32], config: GraphConfig = SMALL, histories: dict[str, list[str]] | None = None, **given: Any
) -> GraphModel:
    items, interactions = tables(histories or shop(300, 1))
    catalogue = Catalogue.build(items, interactions, 1)
    return train_graph(interactions, Events.build(interactions, catalogue), catalogue, vectors, config, **given)


@pytest.fixture(scope="module", params=["normalised", "attention"])
def graph(request: pytest.FixtureRequest, vectors: NDArray[np.float32]) -> GraphModel:
    return trained(vectors, replace(SMALL, convolution=request.param))


def row(title: str) -> int:
    return ITEMS.index(title)


def scores(graph: GraphModel, *history: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return graph.scores(np.asarray([row(title) for title in history], dtype=np.int64), np.ones(len(history)))


def in_category(name: str) -> NDArray[np.int64]:
    return np.flatnonzero(np.asarray(CATEGORIES) == name)


def test_test_users_are_ranked_far_better_than_by_popularity(graph: GraphModel) -> None:
    histories, correct, popular = shop(200, 99), [], []
    users = np.asarray(graph.arrays["users"])
    tools = in_category("Tools")
    for history in histories.values():
        target = next(index for index, title in enumerate(history) if row(title) in tools)
        values, _ = scores(graph, *history[:target])
        correct.append(ITEMS[tools[values[tools].argmax()]] == history[target])
        popular.append(ITEMS[tools[users[tools].argmax()]] == history[target])
    assert np.mean(correct) > 0.8, "one in eight leaves its theme"
    assert np.mean(popular) < 0.3
    assert graph.card["figures"]["ndcg@10"] > 0.5


@pytest.mark.parametrize("theme", THEMES)
def test_the_anchor_is_the_history_item_of_the_theme(graph: GraphModel, theme: str) -> None:
    first, second, _ = THEMES[theme]
    for history in ([first, "gift card"], ["gift card", first]):
        values, anchors = scores(graph, *history)
        tools = in_category("Tools")
        assert ITEMS[tools[values[tools].argmax()]] == second
        assert history[anchors[row(second)]] == first
        shares = graph.attention(np.asarray([row(title) for title in history]), np.ones(2), int(graph.arrays["item_category"][row(second)]))
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert history[shares.argmax()] == first, "gift cards are in all themes"


def test_lazy_anchors_equal_those_of_the_scores(graph: GraphModel) -> None:
    channel = GraphChannel(graph)
    rows = np.array([1, 5, 9])
    query = CandidateQuery(rows, np.array([0.4, 0.7, 1.0]), np.empty((0, 0), np.float32))
    scores, anchors = channel.scores(query)
    some = np.array([0, 2, 7, len(graph) - 1])
    assert isinstance(channel, LazyAnchorChannel)
    assert np.array_equal(channel.item_scores(query), scores)
    assert np.array_equal(channel.anchors(query, some), anchors[some])
    assert np.array_equal(anchors, graph.scores(rows, query.weights)[1])


def test_attention_sums_to_one_for_every_head(graph: GraphModel) -> None:
    rows = np.arange(0, 12)
    for category in (None, *range(len(graph.arrays["head"]))):
        shares = graph.attention(rows, age_weights(RaggedArray(np.asarray([0, 12]), rows.astype(np.int32))), category)
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert (shares > 0).all()


def test_a_history_permuted_with_its_weights_has_the_same_scores(graph: GraphModel) -> None:
    rows = np.asarray([row(title) for title in ("trail tent", "gift card", "dog kennel", "paper bag")])
    weights = np.asarray([0.3, 0.5, 0.7, 1.0])
    expected, anchors = graph.scores(rows, weights)
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        values, permuted = graph.scores(rows[order], weights[order])
        np.testing.assert_allclose(values, expected, atol=1e-4)
        np.testing.assert_array_equal(rows[order][permuted[permuted >= 0]], rows[anchors[anchors >= 0]])
    # With weights by age the newest item weighs most.
    by_age = graph.scores_of(RaggedArray.of([[row("dog kennel"), row("trail tent")], [row("trail tent"), row("dog kennel")]]))
    assert by_age[0, row("camping stove")] > by_age[1, row("camping stove")]


def test_batched_scores_equal_single_ones_and_an_empty_history_ranks_by_popularity(graph: GraphModel) -> None:
    cases = [[row("trail tent"), row("gift card")], [], [row("dog kennel")]]
    batch = graph.scores_of(RaggedArray.of(cases))
    for case, values in zip(cases, batch, strict=True):
        single, anchors = graph.scores(np.asarray(case, dtype=np.int64), age_weights(RaggedArray.of([case])))
        np.testing.assert_allclose(single, values, atol=1e-4)
        assert (anchors < len(case)).all()
        assert ((anchors == -1).all()) == (not case)
    assert np.isfinite(batch).all()
    assert ITEMS[in_category("Tools")[batch[1][in_category("Tools")].argmax()]] == "phone case"


def test_a_permuted_catalogue_has_the_same_scores(graph: GraphModel) -> None:
    order = np.random.default_rng(5).permutation(len(ITEMS))  # new row to old row
    new_row = np.argsort(order)
    arrays = dict(graph.arrays)
    for name in ("target", "history", "item_category", "users"):
        arrays[name] = arrays[name][order]
    for name, _, pairs in graph.links:
        permuted_pairs = pairs[order][:, order].tocsr()
        arrays[f"{name}_values"], arrays[f"{name}_partners"] = permuted_pairs.data, permuted_pairs.indices
        arrays[f"{name}_starts"] = permuted_pairs.indptr
    permuted = GraphModel(arrays, graph.config, graph.card)
    history = np.asarray([row("electric piano"), row("gift card")])
    expected, anchors = graph.scores(history, np.ones(2))
    values, permuted_anchors = permuted.scores(new_row[history], np.ones(2))
    np.testing.assert_allclose(values, expected[order], atol=1e-4)
    np.testing.assert_array_equal(permuted_anchors, anchors[order])


def test_training_is_deterministic(vectors: NDArray[np.float32]) -> None:
    config = replace(SMALL, epochs=2, negatives=12, drawn=3)
    first, again, other = (trained(vectors, replace(config, seed=seed)) for seed in (3, 3, 4))
    assert first.arrays.keys() == again.arrays.keys()
    for name in first.arrays:
        np.testing.assert_array_equal(first.arrays[name], again.arrays[name])
    assert not np.array_equal(first.arrays["target"], other.arrays["target"])


def test_a_stored_graph_is_loaded_or_rejected_with_a_remedy(graph: GraphModel, tmp_path: Path) -> None:
    folder, about = tmp_path / "graph", {"snapshot": "abc", "held_out": {"users": 3}}
    stored = GraphModel(graph.arrays, graph.config, {**graph.card, "about": about})
    save_graph(stored, folder)
    GraphChannel(stored).save(folder)
    assert [file.name for file in tmp_path.iterdir()] == ["graph"]
    assert sorted(file.name for file in folder.iterdir()) == ["card.json", "model.safetensors"]
    loaded = load_graph(folder, dimensions=384, items=len(ITEMS), about={"snapshot": "abc"})
    assert loaded.config == graph.config
    assert loaded.card == stored.card
    np.testing.assert_array_equal(scores(loaded, "trail tent")[0], scores(graph, "trail tent")[0])
    channel = GraphChannel.load(folder, ServedItems([*ITEMS, "later"], np.zeros((len(ITEMS) + 1, 384), np.float32), "abc", len(ITEMS)))
    assert len(channel) == len(ITEMS)
    assert channel.metrics == {"dimensions": 384, "figures": graph.card["figures"]}
    remedy = f"crossaisle train -w {tmp_path} graph"
    for wrong in ({"dimensions": 512}, {"items": 7}, {"about": {"snapshot": "abd"}}):
        with pytest.raises(StaleTrainingError, match=remedy):
            load_graph(folder, **{"dimensions": 384, "items": len(ITEMS), **wrong})  # type: ignore[arg-type]
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(NotTrainedError, match=remedy):
        load_graph(folder, dimensions=384, items=len(ITEMS))
    card = json.loads((folder / "card.json").read_text())
    assert card["figures"]["examples"] > 0
    with pytest.raises(NotTrainedError, match=f"crossaisle train -w {tmp_path / 'none'} graph"):
        load_graph(tmp_path / "none" / "graph", dimensions=384, items=3)


# ---------------------------------------------------------------------- edges


def counted(histories: dict[str, list[str]], kind: str = "purchase") -> tuple[Catalogue, Events, UserItemEdges]:
    items, interactions = tables(histories, kind)
    catalogue = Catalogue.build(items, interactions, 1)
    events = Events.build(interactions, catalogue)
    return catalogue, events, UserItemEdges.from_interactions(interactions, events, catalogue, 3)


def typed_edges(
    histories: dict[str, list[str]], relations: pl.DataFrame | None = None, max_per_kind: int = 20
) -> tuple[ItemLinks, TypedEdges]:
    catalogue, _, user_items = counted(histories)
    links = ItemLinks.from_edges(user_items, 200, 20)
    return links, TypedEdges.from_links(links, relations, catalogue, max_per_kind)


def test_links_and_edges_equal_hand_computed_counts() -> None:
    histories = {
        "a": ["trail tent", "camping stove"],
        "b": ["trail tent", "gift card", "camping stove"],
        "c": ["camping stove", "trail tent"],
    }
    links, edges = typed_edges(histories)
    tent, stove, card = row("trail tent"), row("camping stove"), row("gift card")
    assert entries_at(links.together, np.asarray([tent, tent]), np.asarray([stove, card])).tolist() == pytest.approx([1, 1 / np.sqrt(3)])
    assert entries_at(links.follows, np.asarray([tent, stove, stove]), np.asarray([stove, tent, card])).tolist() == pytest.approx(
        [2 / 23, 1 / 23, 0]
    )
    incoming, reached, _ = edges.incoming(np.asarray([stove]), None, np.random.default_rng(0))
    weights = {(int(edges.kind[edge]), int(edges.source[edge])): float(edges.weight[edge]) for edge in incoming}
    assert set(reached.tolist()) == {0}
    assert weights == pytest.approx(
        {(TOGETHER, tent): 3, (TOGETHER, card): 1, (BEFORE, tent): 2, (BEFORE, card): 1, (AFTER, tent): 1}, rel=1e-4
    )


def test_a_view_has_a_smaller_weight_than_a_purchase() -> None:
    _, _, purchases = counted({"a": ["trail tent", "camping stove"]})
    _, _, views = counted({"a": ["trail tent", "camping stove"]}, "view")
    assert views.matrix.sum() == pytest.approx(0.15 * purchases.matrix.sum())


def test_each_relation_is_a_type_of_edge() -> None:
    table = pl.DataFrame(
        {
            "head": ["trail tent", "dog bed", "dog kennel", "paper bag", "unknown"],
            "relation": ["used with", "made by", "made by", "made by", "made by"],
            "tail": ["camping stove", "Fido Ltd", "Fido Ltd", "Someone", "Fido Ltd"],
        }
    )
    _, edges = typed_edges({"a": ["gift card", "trail tent"]}, table)
    assert edges.kinds == ("together", "before", "after", "same made by", "used with", "used with, reversed")
    reached = np.repeat(np.arange(edges.items), np.diff(edges.starts))
    declared = {(edges.kinds[k], ITEMS[i], ITEMS[j]) for k, i, j in zip(edges.kind, reached, edges.source, strict=True) if k > AFTER}
    assert declared == {
        ("used with", "trail tent", "camping stove"),
        ("used with, reversed", "camping stove", "trail tent"),
        ("same made by", "dog bed", "dog kennel"),
        ("same made by", "dog kennel", "dog bed"),
    }


def test_leaks_are_exactly_the_contribution_of_the_example_s_user() -> None:
    """Without its leak a link equals the link counted without the user, up to the norms."""
    catalogue, events, user_items = counted(shop(60, 3))
    user_items = user_items.without_users(np.asarray([7, 8]))
    links = ItemLinks.from_edges(user_items, 200, 20)
    examples = CategoryEntryExamples.from_events(events, catalogue, 50, np.random.default_rng(0))
    leaks = TargetLeakEdges.from_examples(examples, user_items, links)
    np.testing.assert_array_equal(leaks.shared, ~np.isin(examples.user[leaks.example], [7, 8]))
    for example in range(0, len(examples), 17):
        user = int(examples.user[example])
        rest = ItemLinks.from_edges(user_items.without_users(np.asarray([user])), 200, 20)
        pairs = np.flatnonzero(leaks.example == example)
        first, later = leaks.first[pairs], leaks.later[pairs]
        without_leak = entries_at(links.together, first, later) - leaks.together[pairs]
        norm = np.sqrt(
            np.maximum(rest.user_weights[first] * rest.user_weights[later], 0) / (links.user_weights[first] * links.user_weights[later])
        )
        np.testing.assert_allclose(without_leak, entries_at(rest.together, first, later) * norm, atol=1e-6)
        without_leak = entries_at(links.follows, first, later) - leaks.follows[pairs]
        norm = (rest.user_weights[first] + 20) / (links.user_weights[first] + 20)
        np.testing.assert_allclose(without_leak, entries_at(rest.follows, first, later) * norm, atol=1e-6)


def test_an_edge_of_one_user_is_absent_from_that_user_s_example() -> None:
    catalogue, events, user_items = counted({"a": ["trail tent", "dog bed"], "b": ["gift card", "dog bed"], "c": ["gift card", "dog bed"]})
    links = ItemLinks.from_edges(user_items, 200, 20)
    edges = TypedEdges.from_links(links, None, catalogue, 20)
    examples = CategoryEntryExamples.from_events(events, catalogue, 50, np.random.default_rng(0))
    leaks = TargetLeakEdges.from_examples(examples.subset(np.flatnonzero(examples.user == 0)), user_items, links)
    leaked_weights = leaks.edge_weights(np.arange(len(leaks.first)), len(ITEMS))
    items = np.asarray([row("dog bed"), row("trail tent")])
    for subtracted, has_edge in ((None, True), (leaked_weights, False)):
        rows, layers = sample_layers(edges, items, 1, None, np.random.default_rng(0), subtracted)
        source, reached = (rows[layers[0].edges[i].numpy()] for i in (0, 1))
        pairs = set(zip(source.tolist(), reached.tolist(), strict=True))
        assert ((row("trail tent"), row("dog bed")) in pairs) == has_edge
        assert ((row("dog bed"), row("trail tent")) in pairs) == has_edge
        assert (row("gift card"), row("dog bed")) in pairs


def test_an_example_is_a_category_entry_with_the_history_before_it() -> None:
    catalogue, events, _ = counted(
        {"a": ["trail tent", "gift card", "camping stove", "trail tent", "dog bed", "dog kennel"], "b": ["dog bed", "phone case"]}
    )
    examples = CategoryEntryExamples.from_events(events, catalogue, 50, np.random.default_rng(0))
    assert examples.user.tolist() == [0, 0], "b has one category only"
    targets = {tuple(ITEMS[i] for i in examples.histories[n]): tuple(ITEMS[i] for i in examples.targets[n]) for n in range(len(examples))}
    assert targets == {("trail tent",): ("gift card",), ("trail tent", "gift card"): ("camping stove", "dog bed")}
    assert set(examples.items[0].tolist()) == {row(t) for t in ("trail tent", "gift card", "camping stove", "dog bed", "dog kennel")}


# ---------------------------------------------------------------------- layers


def test_the_convolution_equals_its_dense_formula() -> None:
    torch.manual_seed(0)
    _, edges = typed_edges(shop(80, 2), max_per_kind=1000)
    size, items = 8, len(ITEMS)
    layer = modules().NormalizedConvolution(size, len(edges.kinds))
    with torch.no_grad():
        layer.kind.copy_(torch.tensor([0.3, -0.2, 0.7]))
    nodes = torch.randn(items, size)
    rows, layers = sample_layers(edges, np.arange(items), 1, None, np.random.default_rng(0))
    np.testing.assert_array_equal(rows, np.arange(items))
    dense = np.zeros((items, items))
    reached = np.repeat(np.arange(items), np.diff(edges.starts))
    for kind, factor in enumerate(np.exp([0.3, -0.2, 0.7])):
        weight = np.zeros((items, items))
        of_kind = edges.kind == kind
        weight[reached[of_kind], edges.source[of_kind]] = edges.weight[of_kind]
        in_degree, out_degree = weight.sum(axis=1, keepdims=True), weight.sum(axis=0, keepdims=True)
        dense += factor * weight / np.sqrt(np.maximum(in_degree, 1e-9) * np.maximum(out_degree, 1e-9))
    expected = np.maximum(dense @ nodes.numpy() @ layer.weight.weight.detach().numpy().T, 0)
    np.testing.assert_allclose(layer(nodes, layers[0]).detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("convolution", ["normalised", "attention"])
@pytest.mark.parametrize("layers", [1, 2])
def test_sampling_all_neighbors_equals_the_full_computation(convolution: Any, layers: int) -> None:
    torch.manual_seed(0)
    _, edges = typed_edges(shop(80, 2))
    network = modules().GraphNetwork(6, replace(SMALL, convolution=convolution, layers=layers), len(edges.kinds), 2, 4).eval()
    features, rng = torch.randn(len(ITEMS), 6), np.random.default_rng(0)
    items = np.asarray([3, 8, 1])
    rows, all_layers = sample_layers(edges, np.arange(len(ITEMS)), layers, None, rng)
    expected = network(features[rows], all_layers)[0][items]
    for max_edges in (None, 10_000):
        rows, sampled = sample_layers(edges, items, layers, max_edges, rng)
        np.testing.assert_allclose(network(features[rows], sampled)[0].detach(), expected.detach(), atol=1e-5)
    nodes, sampled = sample_layers(edges, items, 1, 2, rng)
    assert all(np.bincount(sampled[0].edges[1], minlength=3) <= 2)
    assert len(set(nodes.tolist())) == len(nodes)


def test_sampled_sums_are_unbiased() -> None:
    _, edges = typed_edges(shop(80, 2))
    rng, items = np.random.default_rng(0), np.asarray([row("phone case")])
    incoming, _, _ = edges.incoming(items, None, rng)
    samples = (edges.incoming(items, 5, rng) for _ in range(2000))
    sums = [float((edges.weight[sampled] * scale).sum()) for sampled, _, scale in samples]
    assert np.mean(sums) == pytest.approx(float(edges.weight[incoming].sum()), rel=0.05)


def test_the_largest_positive_entries_of_a_row_are_kept() -> None:
    from scipy import sparse

    pairs = sparse.csr_array(np.asarray([[0.0, 2, 2, 3], [0, 0, 0, 0], [1, -1, 0, 0]]))
    assert top_per_row(pairs, 2).toarray().tolist() == [[0, 2, 0, 3], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_attention_depends_on_the_weight_and_the_type_of_an_edge() -> None:
    torch.manual_seed(0)
    layer = modules().AttentionConvolution(8, 3)
    edges = LayerEdges(1, torch.tensor([[1, 2], [0, 0]]), torch.tensor([0, 1]), torch.tensor([1.0, 9.0]), torch.ones(2), torch.ones(2))
    nodes = torch.randn(3, 8)
    expected = layer(nodes, edges)
    assert expected.shape == (1, 8)
    assert not torch.allclose(expected, layer(nodes, replace(edges, weight=torch.tensor([9.0, 1.0]))))
    assert not torch.allclose(expected, layer(nodes, replace(edges, kind=torch.tensor([1, 0]))))


# ---------------------------------------------------------------------- errors and options


def test_too_few_users_or_a_single_category_raise(vectors: NDArray[np.float32]) -> None:
    with pytest.raises(TrainingError, match=f"{MIN_USERS - 1} users have items of more than one category, the graph needs {MIN_USERS}"):
        trained(vectors, histories={f"u{n}": ["trail tent", "camping stove"] for n in range(MIN_USERS - 1)})
    with pytest.raises(TrainingError, match="0 users have items of more than one category"):
        trained(vectors, histories={f"u{n}": ["dog bed", "camping stove"] for n in range(100)})


def test_a_nan_loss_in_the_first_epoch_raises(vectors: NDArray[np.float32]) -> None:
    with_nan = vectors.copy()
    with_nan[row("camping stove")] = np.nan
    with pytest.raises(TrainingError, match="the loss became NaN in the first epoch, .* lower the rate"):
        trained(with_nan)


def test_a_later_nan_loss_keeps_the_best_state(vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = GraphLoss.loss, []

    def failing(self: GraphLoss, indices: NDArray[np.int64]) -> torch.Tensor:
        calls.append(len(indices))
        return original(self, indices) * (np.nan if len(calls) > 25 else 1)

    monkeypatch.setattr(GraphLoss, "loss", failing)
    model = trained(vectors)
    metrics = model.card["figures"]
    assert metrics["stopped"] == "a loss that is no number"
    assert metrics["ndcg@10"] == max(epoch["ndcg@10"] for epoch in metrics["rounds"])
    assert np.isfinite(scores(model, "trail tent")[0]).all()


def test_without_an_order_and_without_direct_links_or_convolutions(vectors: NDArray[np.float32]) -> None:
    items, interactions = tables(shop(120, 1))
    interactions = interactions.with_columns(pl.lit(None, pl.Int64).alias("timestamp"))
    catalogue = Catalogue.build(items, interactions, 1)
    events = Events.build(interactions, catalogue)
    assert events.order == "none"
    config = replace(SMALL, epochs=2, direct=False, layers=0)
    steps: list[tuple[str, int, int]] = []
    model = train_graph(interactions, events, catalogue, vectors, config, progress=lambda *step: steps.append(step))
    assert not model.links
    assert np.isfinite(scores(model, "trail tent", "gift card")[0]).all()
    assert {"edges", "examples"} < {stage for stage, _, _ in steps}
    assert all(0 <= done <= total for _, done, total in steps)


def test_the_card_describes_the_data_and_the_edges(vectors: NDArray[np.float32]) -> None:
    table = pl.DataFrame({"head": ["trail tent"], "relation": ["used with"], "tail": ["camping stove"]})
    model = trained(vectors, replace(SMALL, epochs=2), relations=table, about={"snapshot": "s"})
    assert model.card["dimensions"] == 384
    assert model.card["about"] == {"snapshot": "s"}
    assert model.card["figures"]["edges"]["used with"] == 1
