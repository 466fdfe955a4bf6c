"""The graph in a world whose right answers are known: who has a tent needs the stove next, who has a desk needs the chair."""

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
from crossaisle.retrieval.channels.base import CandidateQuery, LazyAnchorChannel
from crossaisle.retrieval.graph.edges import ItemLinks, UserItemEdges, entries_at, top_per_row
from crossaisle.retrieval.graph.examples import CategoryEntryExamples, TargetLeakEdges
from crossaisle.retrieval.graph.layers import LayerEdges, modules, sample_layers
from crossaisle.retrieval.graph.loss import GraphLoss
from crossaisle.retrieval.graph.model import GraphChannel, GraphConfig, GraphModel, age_weights
from crossaisle.retrieval.graph.neighbor_sampling import AFTER, BEFORE, TOGETHER, TypedEdges
from crossaisle.retrieval.graph.storage import load_graph, save_graph
from crossaisle.retrieval.graph.trainer import MIN_USERS, train_graph
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray

# Of each theme one thing of each category; what comes first leads to the other two.
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
SHELVES = ("Large", "Tools", "Supplies")
ITEMS = [title for theme in THEMES.values() for title in theme] + ["gift card", "paper bag", "phone case", "water bottle"]
CATEGORIES = [shelf for _ in THEMES for shelf in SHELVES] + ["Extras", "Extras", "Tools", "Supplies"]
SMALL = GraphConfig(size=32, epochs=12, few=10, rate=5e-3, batch=64)
DAY = 86_400_000


def shop(users: int, seed: int) -> dict[str, list[str]]:
    """Histories. Everybody may have an extra first; one in eight follows no theme; a phone case and a bottle are the most popular of all."""
    random = np.random.default_rng(seed)
    themes, found = list(THEMES.values()), {}
    for user in range(users):
        first, second, third = themes[random.integers(len(themes))]
        if random.random() < 0.125:
            second = themes[random.integers(len(themes))][1]
        history = [*(["gift card"] if random.random() < 0.5 else []), first, second, *(["phone case"] if random.random() < 0.5 else [])]
        found[f"u{user}"] = [*history, *(["water bottle"] if random.random() < 0.5 else []), *([third] if random.random() < 0.7 else [])]
    return found


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
    items, told = tables(histories or shop(300, 1))
    catalogue = Catalogue.build(items, told, 1)
    return train_graph(told, Events.build(told, catalogue), catalogue, vectors, config, **given)


@pytest.fixture(scope="module", params=["normalised", "attention"])
def graph(request: pytest.FixtureRequest, vectors: NDArray[np.float32]) -> GraphModel:
    return trained(vectors, replace(SMALL, convolution=request.param))


def row(title: str) -> int:
    return ITEMS.index(title)


def scores(graph: GraphModel, *history: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return graph.scores(np.asarray([row(title) for title in history], dtype=np.int64), np.ones(len(history)))


def of_shelf(name: str) -> NDArray[np.int64]:
    return np.flatnonzero(np.asarray(CATEGORIES) == name)


def test_shoppers_who_were_not_trained_on_are_ranked_far_better_than_by_popularity(graph: GraphModel) -> None:
    histories, right, popular = shop(200, 99), [], []
    users = np.asarray(graph.arrays["users"])
    tools = of_shelf("Tools")
    for history in histories.values():
        place = next(place for place, title in enumerate(history) if row(title) in tools)
        found, _ = scores(graph, *history[:place])
        right.append(ITEMS[tools[found[tools].argmax()]] == history[place])
        popular.append(ITEMS[tools[users[tools].argmax()]] == history[place])
    assert np.mean(right) > 0.8, "one in eight follows no theme"
    assert np.mean(popular) < 0.3
    assert graph.card["figures"]["ndcg@10"] > 0.5


@pytest.mark.parametrize("theme", THEMES)
def test_the_history_item_behind_a_need(graph: GraphModel, theme: str) -> None:
    first, second, _ = THEMES[theme]
    for history in ([first, "gift card"], ["gift card", first]):
        found, place = scores(graph, *history)
        tools = of_shelf("Tools")
        assert ITEMS[tools[found[tools].argmax()]] == second
        assert history[place[row(second)]] == first
        shares = graph.attention(np.asarray([row(title) for title in history]), np.ones(2), int(graph.arrays["item_category"][row(second)]))
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert history[shares.argmax()] == first, "everybody has gift cards"


def test_places_that_are_asked_for_later_are_the_same(graph: GraphModel) -> None:
    channel = GraphChannel(graph)
    rows = np.array([1, 5, 9])
    seeds = CandidateQuery(rows, np.array([0.4, 0.7, 1.0]), np.empty((0, 0), np.float32))
    scores, places = channel.scores(seeds)
    asked = np.array([0, 2, 7, len(graph) - 1])
    assert isinstance(channel, LazyAnchorChannel)
    assert np.array_equal(channel.item_scores(seeds), scores)
    assert np.array_equal(channel.anchors(seeds, asked), places[asked])
    assert np.array_equal(places, graph.scores(rows, seeds.weights)[1])


def test_attention_adds_up_to_one_whoever_looks(graph: GraphModel) -> None:
    rows = np.arange(0, 12)
    for category in (None, *range(len(graph.arrays["head"]))):
        shares = graph.attention(rows, age_weights(RaggedArray(np.asarray([0, 12]), rows.astype(np.int32))), category)
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert (shares > 0).all()


def test_a_new_item_stands_beside_the_one_it_reads_like(graph: GraphModel, embedder: Embedder) -> None:
    tools = of_shelf("Tools")
    for new, like, first in (
        ("camping cooker", "camping stove", "trail tent"),
        ("adjustable chair for the office", "ergonomic office chair", "standing desk"),
        ("soft bed for dogs", "dog bed", "dog kennel"),
    ):
        vector = graph.item_vector(embedder.encode([new])[0])
        assert vector.shape == (graph.config.size,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
        texts = graph.item_vector(embedder.encode([ITEMS[i] for i in tools]))
        assert ITEMS[tools[(texts @ vector).argmax()]] == like
        code = int(graph.arrays["item_category"][row(like)])
        user = graph.user_vector(np.asarray([row(first)]), np.ones(1), code)
        assert (graph.target[tools] @ user > vector @ user).sum() <= 2, "at most two known tools are nearer to the shopper"


def test_a_history_in_another_order_scores_alike_where_the_weights_go_along(graph: GraphModel) -> None:
    rows = np.asarray([row(title) for title in ("trail tent", "gift card", "dog kennel", "paper bag")])
    weights = np.asarray([0.3, 0.5, 0.7, 1.0])
    usual, place = graph.scores(rows, weights)
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        found, moved = graph.scores(rows[order], weights[order])
        np.testing.assert_allclose(found, usual, atol=1e-4)
        np.testing.assert_array_equal(rows[order][moved[moved >= 0]], rows[place[place >= 0]])
    # By age alone the newest counts most.
    late = graph.scores_of(RaggedArray.of([[row("dog kennel"), row("trail tent")], [row("trail tent"), row("dog kennel")]]))
    assert late[0, row("camping stove")] > late[1, row("camping stove")]


def test_one_case_scores_as_in_a_batch_and_an_empty_history_by_what_is_usual(graph: GraphModel) -> None:
    cases = [[row("trail tent"), row("gift card")], [], [row("dog kennel")]]
    together = graph.scores_of(RaggedArray.of(cases))
    for case, found in zip(cases, together, strict=True):
        alone = RaggedArray.of([case])
        one, place = graph.scores(np.asarray(case, dtype=np.int64), age_weights(alone))
        np.testing.assert_allclose(one, found, atol=1e-4)
        assert (place < len(case)).all()
        assert ((place == -1).all()) == (not case)
    assert np.isfinite(together).all()
    # Nobody knows anything of the shopper: within a shelf what most have comes first.
    assert ITEMS[of_shelf("Tools")[together[1][of_shelf("Tools")].argmax()]] == "phone case"


def test_items_in_another_order_score_alike(graph: GraphModel) -> None:
    order = np.random.default_rng(5).permutation(len(ITEMS))  # new row to old row
    back = np.argsort(order)
    arrays = dict(graph.arrays)
    for name in ("target", "history", "item_category", "users"):
        arrays[name] = arrays[name][order]
    for name, _, pairs in graph.links:
        moved = pairs[order][:, order].tocsr()
        arrays |= {f"{name}_values": moved.data, f"{name}_partners": moved.indices, f"{name}_starts": moved.indptr}
    other = GraphModel(arrays, graph.config, graph.card)
    history = np.asarray([row("electric piano"), row("gift card")])
    usual, place = graph.scores(history, np.ones(2))
    found, there = other.scores(back[history], np.ones(2))
    np.testing.assert_allclose(found, usual[order], atol=1e-4)
    np.testing.assert_array_equal(there, place[order])


def test_one_seed_has_one_result(vectors: NDArray[np.float32]) -> None:
    config = replace(SMALL, epochs=2, negatives=12, drawn=3)
    one, again, other = (trained(vectors, replace(config, seed=seed)) for seed in (3, 3, 4))
    assert one.arrays.keys() == again.arrays.keys()
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], again.arrays[name])
    assert not np.array_equal(one.arrays["target"], other.arrays["target"])


def test_a_folder_holds_what_was_trained(graph: GraphModel, tmp_path: Path) -> None:
    marked = GraphModel(graph.arrays, graph.config, {**graph.card, "about": {"snapshot": "abc", "held_out": {"users": 3}}})
    save_graph(marked, tmp_path)
    save_graph(marked, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["graph"]
    assert sorted(file.name for file in (tmp_path / "graph").iterdir()) == ["card.json", "model.safetensors"]
    found = load_graph(tmp_path, dimensions=384, items=len(ITEMS), about={"snapshot": "abc"})
    assert found.config == graph.config
    assert found.card == marked.card
    np.testing.assert_array_equal(scores(found, "trail tent")[0], scores(graph, "trail tent")[0])
    mend = f"crossaisle train -w {tmp_path} graph"
    for wrong in ({"dimensions": 512}, {"items": 7}, {"about": {"snapshot": "abd"}}):
        with pytest.raises(StaleTrainingError, match=mend):
            load_graph(tmp_path, **{"dimensions": 384, "items": len(ITEMS), **wrong})  # type: ignore[arg-type]
    model = tmp_path / "graph" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(NotTrainedError, match=mend):
        load_graph(tmp_path, dimensions=384, items=len(ITEMS))
    card = json.loads((tmp_path / "graph" / "card.json").read_text())
    assert card["figures"]["examples"] > 0
    with pytest.raises(NotTrainedError, match=f"crossaisle train -w {tmp_path / 'none'} graph"):
        load_graph(tmp_path / "none", dimensions=384, items=3)


# ---------------------------------------------------------------------- edges


def world(histories: dict[str, list[str]], kind: str = "purchase") -> tuple[Catalogue, Events, UserItemEdges]:
    items, told = tables(histories, kind)
    catalogue = Catalogue.build(items, told, 1)
    events = Events.build(told, catalogue)
    return catalogue, events, UserItemEdges.from_interactions(told, events, catalogue, 3)


def neighbours(histories: dict[str, list[str]], relations: pl.DataFrame | None = None, most: int = 20) -> tuple[ItemLinks, TypedEdges]:
    catalogue, _, owned = world(histories)
    links = ItemLinks.from_edges(owned, 200, 20)
    return links, TypedEdges.from_links(links, relations, catalogue, most)


def test_edges_weigh_who_had_both_and_who_had_one_after_the_other() -> None:
    histories = {
        "a": ["trail tent", "camping stove"],
        "b": ["trail tent", "gift card", "camping stove"],
        "c": ["camping stove", "trail tent"],
    }
    links, found = neighbours(histories)
    tent, stove, card = row("trail tent"), row("camping stove"), row("gift card")
    assert entries_at(links.together, np.asarray([tent, tent]), np.asarray([stove, card])).tolist() == pytest.approx([1, 1 / np.sqrt(3)])
    assert entries_at(links.follows, np.asarray([tent, stove, stove]), np.asarray([stove, tent, card])).tolist() == pytest.approx(
        [2 / 23, 1 / 23, 0]
    )
    edges, reached, _ = found.incoming(np.asarray([stove]), None, np.random.default_rng(0))
    told = {(int(found.kind[e]), int(found.source[e])): float(found.weight[e]) for e in edges}
    assert set(reached.tolist()) == {0}
    assert told == pytest.approx(
        {(TOGETHER, tent): 3, (TOGETHER, card): 1, (BEFORE, tent): 2, (BEFORE, card): 1, (AFTER, tent): 1}, rel=1e-4
    )


def test_a_look_makes_a_lighter_edge_than_a_purchase() -> None:
    _, _, bought = world({"a": ["trail tent", "camping stove"]})
    _, _, looked = world({"a": ["trail tent", "camping stove"]}, "view")
    assert looked.matrix.sum() == pytest.approx(0.15 * bought.matrix.sum())


def test_relations_are_edges_of_their_own() -> None:
    table = pl.DataFrame(
        {
            "head": ["trail tent", "dog bed", "dog kennel", "paper bag", "unknown"],
            "relation": ["used with", "made by", "made by", "made by", "made by"],
            "tail": ["camping stove", "Fido Ltd", "Fido Ltd", "Someone", "Fido Ltd"],
        }
    )
    _, found = neighbours({"a": ["gift card", "trail tent"]}, table)
    assert found.kinds == ("together", "before", "after", "same made by", "used with", "used with, reversed")
    owner = np.repeat(np.arange(found.items), np.diff(found.starts))
    told = {(found.kinds[k], ITEMS[i], ITEMS[j]) for k, i, j in zip(found.kind, owner, found.source, strict=True) if k > AFTER}
    assert told == {
        ("used with", "trail tent", "camping stove"),
        ("used with, reversed", "camping stove", "trail tent"),
        ("same made by", "dog bed", "dog kennel"),
        ("same made by", "dog kennel", "dog bed"),
    }


def test_a_shopper_s_own_pairs_come_off_exactly() -> None:
    """What is left of an entry is what it would be if the shopper had never been counted, over the same norms."""
    catalogue, events, owned = world(shop(60, 3))
    owned = owned.without_users(np.asarray([7, 8]))
    links = ItemLinks.from_edges(owned, 200, 20)
    examples = CategoryEntryExamples.from_events(events, catalogue, 50, np.random.default_rng(0))
    own = TargetLeakEdges.from_examples(examples, owned, links)
    counted = ~np.isin(examples.user[own.example], [7, 8])
    np.testing.assert_array_equal(own.shared, counted)
    for number in range(0, len(examples), 17):
        user = int(examples.user[number])
        rest = ItemLinks.from_edges(owned.without_users(np.asarray([user])), 200, 20)
        pairs = np.flatnonzero(own.example == number)
        first, later = own.first[pairs], own.later[pairs]
        left = entries_at(links.together, first, later) - own.together[pairs]
        norm = np.sqrt(
            np.maximum(rest.user_weights[first] * rest.user_weights[later], 0) / (links.user_weights[first] * links.user_weights[later])
        )
        np.testing.assert_allclose(left, entries_at(rest.together, first, later) * norm, atol=1e-6)
        left = entries_at(links.follows, first, later) - own.follows[pairs]
        norm = (rest.user_weights[first] + 20) / (links.user_weights[first] + 20)
        np.testing.assert_allclose(left, entries_at(rest.follows, first, later) * norm, atol=1e-6)


def test_a_pair_that_one_shopper_made_is_no_edge_while_the_shopper_is_asked() -> None:
    catalogue, events, owned = world({"a": ["trail tent", "dog bed"], "b": ["gift card", "dog bed"], "c": ["gift card", "dog bed"]})
    links = ItemLinks.from_edges(owned, 200, 20)
    found = TypedEdges.from_links(links, None, catalogue, 20)
    examples = CategoryEntryExamples.from_events(events, catalogue, 50, np.random.default_rng(0))
    numbers = np.flatnonzero(examples.user == 0)
    own = TargetLeakEdges.from_examples(examples.subset(numbers), owned, links)
    made = own.edge_weights(np.arange(len(own.first)), len(ITEMS))
    items = np.asarray([row("dog bed"), row("trail tent")])
    for taken, tent in ((None, True), (made, False)):
        rows, layers = sample_layers(found, items, 1, None, np.random.default_rng(0), taken)
        source, reached = (rows[layers[0].edges[i].numpy()] for i in (0, 1))
        pairs = set(zip(source.tolist(), reached.tolist(), strict=True))
        assert ((row("trail tent"), row("dog bed")) in pairs) == tent
        assert ((row("dog bed"), row("trail tent")) in pairs) == tent
        assert (row("gift card"), row("dog bed")) in pairs


def test_examples_ask_for_a_category_from_what_came_before_it() -> None:
    catalogue, events, _ = world(
        {"a": ["trail tent", "gift card", "camping stove", "trail tent", "dog bed", "dog kennel"], "b": ["dog bed", "phone case"]}
    )
    examples = CategoryEntryExamples.from_events(events, catalogue, 50, np.random.default_rng(0))
    assert examples.user.tolist() == [0, 0], "b has one category only"
    told = {tuple(ITEMS[i] for i in examples.histories[n]): tuple(ITEMS[i] for i in examples.targets[n]) for n in range(len(examples))}
    assert told == {("trail tent",): ("gift card",), ("trail tent", "gift card"): ("camping stove", "dog bed")}
    assert set(examples.items[0].tolist()) == {row(t) for t in ("trail tent", "gift card", "camping stove", "dog bed", "dog kennel")}


# ---------------------------------------------------------------------- layers


def test_the_convolution_is_its_formula() -> None:
    torch.manual_seed(0)
    _, found = neighbours(shop(80, 2), most=1000)
    size, items = 8, len(ITEMS)
    layer = modules().Normalised(size, len(found.kinds))
    with torch.no_grad():
        layer.kind.copy_(torch.tensor([0.3, -0.2, 0.7]))
    nodes = torch.randn(items, size)
    rows, layers = sample_layers(found, np.arange(items), 1, None, np.random.default_rng(0))
    np.testing.assert_array_equal(rows, np.arange(items))
    dense = np.zeros((items, items))
    owner = np.repeat(np.arange(items), np.diff(found.starts))
    for kind, counts in enumerate(np.exp([0.3, -0.2, 0.7])):
        weight = np.zeros((items, items))
        mine = found.kind == kind
        weight[owner[mine], found.source[mine]] = found.weight[mine]
        into, out = weight.sum(axis=1, keepdims=True), weight.sum(axis=0, keepdims=True)
        dense += counts * weight / np.sqrt(np.maximum(into, 1e-9) * np.maximum(out, 1e-9))
    wanted = np.maximum(dense @ nodes.numpy() @ layer.weight.weight.detach().numpy().T, 0)
    np.testing.assert_allclose(layer(nodes, layers[0]).detach().numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize("convolution", ["normalised", "attention"])
@pytest.mark.parametrize("layers", [1, 2])
def test_drawing_more_neighbours_than_there_are_is_the_whole_computation(convolution: Any, layers: int) -> None:
    torch.manual_seed(0)
    _, found = neighbours(shop(80, 2))
    body = modules().Body(6, replace(SMALL, convolution=convolution, layers=layers), len(found.kinds), 2, 4).eval()
    features, random = torch.randn(len(ITEMS), 6), np.random.default_rng(0)
    wanted = np.asarray([3, 8, 1])
    rows, everything = sample_layers(found, np.arange(len(ITEMS)), layers, None, random)
    whole = body(features[rows], everything)[0][wanted]
    for most in (None, 10_000):
        rows, few = sample_layers(found, wanted, layers, most, random)
        np.testing.assert_allclose(body(features[rows], few)[0].detach(), whole.detach(), atol=1e-5)
    cut, layer = sample_layers(found, wanted, 1, 2, random)
    assert all(np.bincount(layer[0].edges[1], minlength=3) <= 2)
    assert len(set(cut.tolist())) == len(cut)


def test_what_is_drawn_stands_for_all_on_average() -> None:
    _, found = neighbours(shop(80, 2))
    random, items = np.random.default_rng(0), np.asarray([row("phone case")])
    whole, _, _ = found.incoming(items, None, random)
    sums = [float((found.weight[edges] * scale).sum()) for edges, _, scale in (found.incoming(items, 5, random) for _ in range(2000))]
    assert np.mean(sums) == pytest.approx(float(found.weight[whole].sum()), rel=0.05)


def test_the_strongest_of_a_row() -> None:
    from scipy import sparse

    pairs = sparse.csr_array(np.asarray([[0.0, 2, 2, 3], [0, 0, 0, 0], [1, -1, 0, 0]]))
    assert top_per_row(pairs, 2).toarray().tolist() == [[0, 2, 0, 3], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_attention_weighs_edges_by_what_they_connect() -> None:
    torch.manual_seed(0)
    layer = modules().Attending(8, 3)
    hop = LayerEdges(1, torch.tensor([[1, 2], [0, 0]]), torch.tensor([0, 1]), torch.tensor([1.0, 9.0]), torch.ones(2), torch.ones(2))
    nodes = torch.randn(3, 8)
    usual = layer(nodes, hop)
    assert usual.shape == (1, 8)
    assert not torch.allclose(usual, layer(nodes, replace(hop, weight=torch.tensor([9.0, 1.0]))))
    assert not torch.allclose(usual, layer(nodes, replace(hop, kind=torch.tensor([1, 0]))))


# ---------------------------------------------------------------------- what cannot be


def test_too_few_shoppers_or_a_single_category(vectors: NDArray[np.float32]) -> None:
    with pytest.raises(TrainingError, match=f"{MIN_USERS - 1} users have items of more than one category, the graph needs {MIN_USERS}"):
        trained(vectors, histories={f"u{n}": ["trail tent", "camping stove"] for n in range(MIN_USERS - 1)})
    with pytest.raises(TrainingError, match="0 users have items of more than one category"):
        trained(vectors, histories={f"u{n}": ["dog bed", "camping stove"] for n in range(100)})


def test_a_loss_that_is_no_number(vectors: NDArray[np.float32]) -> None:
    spoilt = vectors.copy()
    spoilt[row("camping stove")] = np.nan
    with pytest.raises(TrainingError, match="lower the rate"):
        trained(spoilt)


def test_a_loss_that_becomes_no_number_leaves_the_best_state_so_far(vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = GraphLoss.loss, []

    def failing(self: GraphLoss, numbers: NDArray[np.int64]) -> torch.Tensor:
        calls.append(len(numbers))
        return whole(self, numbers) * (np.nan if len(calls) > 25 else 1)

    monkeypatch.setattr(GraphLoss, "loss", failing)
    found = trained(vectors)
    figures = found.card["figures"]
    assert figures["stopped"] == "a loss that is no number"
    assert figures["ndcg@10"] == max(one["ndcg@10"] for one in figures["rounds"])
    assert np.isfinite(scores(found, "trail tent")[0]).all()


def test_without_an_order_and_without_direct_links_or_convolutions(vectors: NDArray[np.float32]) -> None:
    items, told = tables(shop(120, 1))
    told = told.with_columns(pl.lit(None, pl.Int64).alias("timestamp"))
    catalogue = Catalogue.build(items, told, 1)
    events = Events.build(told, catalogue)
    assert events.order == "none"
    config = replace(SMALL, epochs=2, direct=False, layers=0)
    seen: list[tuple[str, int, int]] = []
    found = train_graph(told, events, catalogue, vectors, config, progress=lambda *step: seen.append(step))
    assert not found.links
    assert np.isfinite(scores(found, "trail tent", "gift card")[0]).all()
    assert {"edges", "examples"} < {stage for stage, _, _ in seen}
    assert all(0 <= done <= total for _, done, total in seen)


def test_further_features_and_relations(vectors: NDArray[np.float32]) -> None:
    further = np.arange(len(ITEMS) * 2, dtype=np.float32).reshape(-1, 2)
    table = pl.DataFrame({"head": ["trail tent"], "relation": ["used with"], "tail": ["camping stove"]})
    found = trained(vectors, replace(SMALL, epochs=2), further=further, relations=table, about={"snapshot": "s"})
    assert found.card["dimensions"] == 384
    assert found.card["about"] == {"snapshot": "s"}
    assert found.card["figures"]["edges"]["used with"] == 1
    usual = found.item_vector(vectors[0])
    assert usual.shape == (32,)
    np.testing.assert_allclose(found.item_vector(vectors[0], further.mean(axis=0)), usual, atol=1e-5)
    assert not np.allclose(found.item_vector(vectors[0], further[-1]), usual, atol=1e-3)
