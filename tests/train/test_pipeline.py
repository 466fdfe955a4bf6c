"""Training a store end to end: questions know nothing of who is asked, the parts are kept, and recommendations and evaluations use them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import crossaisle
from crossaisle.app.cli.main import app
from crossaisle.app.reports.evaluation_page import page
from crossaisle.data.errors import CrossaisleError, LeakError, QueryError, TrainingError
from crossaisle.data.records import Rules
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut, Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits import leakage, protocols
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.recommend.attribution.why import why
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.train import channels as parts
from crossaisle.train import pipeline
from crossaisle.train.out_of_fold import category_entries, collect_queries


@pytest.fixture(scope="module")
def known(demo_workspace: Workspace, settings: Settings) -> TrainingView:
    _, index, _ = load(demo_workspace, settings)
    catalogue, _, _ = load(demo_workspace, settings)
    return TrainingView.from_workspace(demo_workspace, HeldOut(), index, item_vectors(index, catalogue))


def test_entries_are_what_the_evaluation_would_ask(known: TrainingView) -> None:
    cases = category_entries(known, 0)
    category = known.catalogue.category
    assert len(cases) > 100
    for number in range(len(cases)):
        had, wanted = set(category[cases.histories[number]].tolist()), set(category[cases.targets[number]].tolist())
        assert len(wanted) == 1
        assert not wanted & had
    # The last entry of a user is the case that the users protocol makes of that user.
    drawn = protocols.sample_cases(Split(test=1.0), known.events, known.catalogue, "test", "new").cases
    last = {user: number for number, user in enumerate(cases.users)}
    same = [
        set(cases.targets[last[user]].tolist()) == set(drawn.targets[number].tolist())
        for number, user in enumerate(drawn.users)
        if user in last
    ]
    assert np.mean(same) > 0.9  # near-duplicates of a history item are left out of one and not yet of the other


def test_nobody_is_asked_by_channels_that_counted_them(demo_workspace: Workspace, known: TrainingView) -> None:
    seen: list[frozenset[str]] = []

    def train(part: TrainingView, _: Any) -> dict[str, Any]:
        seen.append(frozenset(part.interactions["user_id"].unique().to_list()))
        return {}

    asked = collect_queries(demo_workspace, known, HeldOut(), 0, train, lambda *_: None)
    everybody = frozenset(known.interactions["user_id"].unique().to_list())
    assert len(seen) == 5
    fold_of = {user: number for number, counted in enumerate(seen) for user in everybody - counted}
    assert set(fold_of) == everybody  # each is left out of one fold
    assert sum(len(everybody - counted) for counted in seen) == len(everybody)
    # Each fact is at most what the fold's known users bear out.
    events = known.interactions.select("user_id", "item_id").unique()
    ids = known.catalogue.items["item_id"]
    checked = 0
    for number in range(0, len(asked.users), 40):
        counted = events.filter(pl.col("user_id").is_in(sorted(seen[fold_of[asked.users[number]]])))
        run = slice(int(asked.dataset.starts[number]), int(asked.dataset.starts[number + 1]))
        for row, (anchor, both, had) in zip(asked.rows[run][:40].tolist(), asked.pair_counts[run][:40].tolist(), strict=False):
            if anchor >= 0:
                of_anchor = set(counted.filter(pl.col("item_id") == ids[anchor])["user_id"])
                of_item = set(counted.filter(pl.col("item_id") == ids[row])["user_id"])
                assert (both, had) == (len(of_anchor & of_item), len(of_anchor))
                checked += 1
    assert checked > 20


def test_what_was_trained_is_kept_with_its_card(trained: tuple[Workspace, dict[str, Any]]) -> None:
    shop, figures = trained
    assert figures["left_out"] == {}
    tried = {trial["penalty"]: trial["ndcg@10"] for trial in figures["factors"]["tried"]}
    assert set(tried) == set(parts.PENALTIES)
    assert tried[figures["factors"]["penalty"]] == max(tried.values())
    assert figures["blend"]["answered"] > 200
    for part in ("graph", "complements", "factors", "blend"):
        card = leakage.read_card(shop.path / part / "card.json")
        assert card is not None
        assert card["snapshot"] == shop.manifest.snapshot
        assert card["held_out"]["protocol"] == "users"
    models = json.loads((shop.path / "blend" / "models.json").read_text())
    channels = {
        "semantic", "associations", "popularity", "sequential", "item_knn", "co_occurrence", "text_smoothed", "lately", "factors", "complements",
        "graph", "profile",
    }  # fmt: skip
    assert set(models) == {"blend"} | {f"blend without {name}" for name in channels}
    assert not list(shop.path.glob(".staging*"))


def test_the_evaluation_of_a_trained_store(trained: tuple[Workspace, dict[str, Any]], settings: Settings, tmp_path: Path) -> None:
    shop, _ = trained
    options = EvaluationOptions(max_cases=60, budget=1)
    rankings = Evaluation(shop, settings.with_(llm="none"), tmp_path, options).run()
    report = reports.build(rankings, options, shop, "none")
    kinds = rankings.system_kinds
    assert kinds["blend"] == "blend"
    assert {name for name, kind in kinds.items() if kind == "channel"} == {
        "semantic", "associations", "popularity", "sequential", "item_knn", "co_occurrence", "text_smoothed", "lately", "factors", "complements",
        "graph",
    }  # fmt: skip
    assert sum(kind == "ablation" for kind in kinds.values()) == 12
    recall = report["candidate_recall"]
    assert recall["union"]["50"] >= max(found["50"] for name, found in recall.items() if name != "union")
    assert report["systems"]["blend"]["ndcg@10"]["value"] > report["systems"]["random"]["ndcg@10"]["value"]
    levels = report["novelty"]
    assert [level["novelty"] for level in levels] == [0, 0.25, 0.5, 0.75, 1]
    assert levels[0]["ndcg@10"]["value"] == report["systems"]["blend"]["ndcg@10"]["value"]
    assert levels[0]["minus_none"]["value"] == 0
    assert levels[-1]["average_popularity"] < levels[0]["average_popularity"]
    ways = {(way["places"], way["up_to"]): way for way in report["new_items"]}
    assert list(ways) == [(0, 0), (1, 0), (2, 0), (1, 2), (2, 2)]
    assert ways[0, 0]["all"]["ndcg@10"]["value"] == levels[0]["ndcg@10"]["value"]
    assert ways[0, 0]["at most two users"]["cases"] >= ways[0, 0]["cold"]["cases"]
    users = rankings.training_view.catalogue.users
    for (places, up_to), top in rankings.new_items.items():
        told = ways[places, up_to]
        assert told["all"]["minus_none"]["value"] == pytest.approx(
            told["all"]["ndcg@10"]["value"] - levels[0]["ndcg@10"]["value"], abs=2e-5
        )
        for number, kept in enumerate(top[:, :10].tolist()):
            new = rankings.eligible.mask(rankings.cases, slice(number, number + 1))[0] & (users <= up_to)
            assert len(set(kept)) == 10
            assert new[kept].sum() >= min(places, int(new.sum()))
    page(json.loads(reports.write(report, tmp_path).read_text()), tmp_path / "report.html")
    assert "What novelty costs" in (tmp_path / "report.html").read_text()
    assert "What places for new items cost" in (tmp_path / "report.html").read_text()
    with pytest.raises(LeakError, match=r"trained part .* did not hold out .* train it again"):
        Evaluation(shop, settings.with_(llm="none"), tmp_path / "other", EvaluationOptions(max_cases=60, budget=1, seed=1)).run()


def test_the_blend_orders_the_recommendations(trained: tuple[Workspace, dict[str, Any]], settings: Settings) -> None:
    shop, _ = trained
    recommender = Recommender.open(shop, settings=settings.with_(llm="none"))
    user = next(iter(recommender.histories))
    answer = recommender.recommend(user_id=user, k=5)
    assert len(answer.items) == 5
    scores = [found.score for found in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert {"sequential", "graph"} & set(answer.items[0].channels)
    had = {recommender.catalogue.category_name(row) for row in recommender.histories.of(user).rows.tolist()}
    assert not had & {found.item.category[0] for found in answer.items}
    # The same again, and by why.
    assert recommender.recommend(user_id=user, k=5).items == answer.items
    told = why(recommender, answer.items[0].item.item_id, user_id=user)
    assert told.rank == 1
    assert told.score == answer.items[0].score
    assert told.left_out is None
    assert told.anchor is None or told.anchor.item_id == answer.items[0].anchor
    shares = [share for _, share in told.attention]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-6
    assert {item.item_id for item, _ in told.attention} <= {
        recommender.catalogue.id(int(row)) for row in recommender.histories.of(user).rows
    }
    adds = sum(one.contribution or 0.0 for one in told.channels.values())
    assert adds > 0  # it stands above an average candidate


def test_why_not(trained: tuple[Workspace, dict[str, Any]], settings: Settings) -> None:
    recommender = Recommender.open(trained[0], settings=settings.with_(llm="none"))
    user = next(iter(recommender.histories))
    owned = recommender.catalogue.id(int(recommender.histories.of(user).rows[0]))
    told = why(recommender, owned, user_id=user)
    assert (told.rank, told.left_out) == (None, "owned already")
    assert told.removed_by == ("owned already", "of a category that the shopper knows")
    allowed = why(recommender, owned, user_id=user, rules=Rules(exclude_owned=False))
    assert allowed.left_out == "of a category that the shopper knows"
    with pytest.raises(QueryError, match="nothing to go by"):
        why(recommender, owned)
    with pytest.raises(QueryError, match="no item 'nope'"):
        why(recommender, "nope", user_id=user)


@pytest.mark.parametrize("tuned", [True, False])
def test_places_are_kept_for_items_that_nobody_had(
    trained: tuple[Workspace, dict[str, Any]], demo_workspace: Workspace, settings: Settings, tuned: bool
) -> None:
    recommender = Recommender.open(trained[0] if tuned else demo_workspace, settings=settings.with_(llm="none"))
    users, row = recommender.catalogue.users, recommender.catalogue.row
    user = next(iter(recommender.histories))
    plain = recommender.recommend(user_id=user, k=5, explain=False)
    kept = recommender.recommend(user_id=user, k=5, new_items=2, explain=False)
    assert [found.item for found in kept.items[:3]] == [found.item for found in plain.items[:3]]
    assert [int(users[row(found.item.item_id)]) for found in kept.items[3:]] == [0, 0]
    assert all(0 < found.score < kept.items[0].score for found in kept.items[3:])
    many = recommender.recommend(user_id=user, k=10, new_items=10, explain=False)
    new = [found for found in many.items if users[row(found.item.item_id)] == 0]
    assert len(new) <= int((users == 0).sum())
    assert any("of 10 new items" in line for line in many.unsatisfied)
    few = recommender.recommend(user_id=user, k=5, new_items=2, new_up_to=5, explain=False)
    assert [found.item for found in few.items[:3]] == [found.item for found in plain.items[:3]]
    assert all(int(users[row(found.item.item_id)]) <= 5 for found in few.items[3:])
    with pytest.raises(QueryError, match="the maximum number of users of a new item must be 0 or more, not -1"):
        recommender.recommend(user_id=user, k=3, new_items=1, new_up_to=-1)
    with pytest.raises(QueryError, match="new items must be 0 to 3"):
        recommender.recommend(user_id=user, k=3, new_items=4)


def test_a_text_still_goes_the_way_that_was_not_learned(trained: tuple[Workspace, dict[str, Any]], settings: Settings) -> None:
    recommender = Recommender.open(trained[0], settings=settings.with_(llm="none"))
    answer = recommender.recommend(text="something for a rainy camping trip", k=3)
    assert answer.items
    assert set(answer.items[0].channels) <= {"semantic", "associations", "popularity"}


def test_new_data_leaves_the_graph_out_and_keeps_the_rest(
    trained: tuple[Workspace, dict[str, Any]], settings: Settings, demo_files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, files = tmp_path / "shop", tmp_path / "files"
    shutil.copytree(trained[0].path, path)
    shutil.copytree(demo_files, files)
    lines = (files / "interactions.jsonl").read_text().splitlines()
    (files / "interactions.jsonl").write_text("\n".join(lines[:-50]) + "\n")
    crossaisle.ingest(path, "files", [files])
    crossaisle.index(Workspace(path), settings)
    recommender = Recommender.open(path, settings=settings.with_(llm="none"))
    user = next(iter(recommender.histories))
    answer = recommender.recommend(user_id=user, k=3)
    assert answer.items
    assert "graph" not in answer.items[0].channels
    assert "the graph is left out" in caplog.text
    assert "factors" in {channel for found in answer.items for channel in found.channels}
    with pytest.raises(LeakError, match=r"graph.*complements.*blend"):
        Evaluation(Workspace(path), settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(max_cases=20, budget=1)).run()


def test_one_category_only_is_one_sentence(make_store: Callable[..., Path], settings: Settings, tmp_path: Path) -> None:
    store = make_store({"a": "One", "b": "One"}, {f"u{n}": ["a", "b"] for n in range(30)})
    crossaisle.ingest(tmp_path / "shop", "files", [store])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    with pytest.raises(CrossaisleError, match="nobody went from one category to another"):
        pipeline.train_workspace(Workspace(tmp_path / "shop"), settings)
    result = CliRunner().invoke(app, ["train", "-w", str(tmp_path / "shop")])
    assert isinstance(result.exception, TrainingError)
    assert not (tmp_path / "shop" / "blend").exists()


def test_too_few_shoppers_leave_nothing_behind(make_store: Callable[..., Path], settings: Settings, tmp_path: Path) -> None:
    store = make_store({"a": "One", "b": "Two"}, {f"u{n}": ["a", "b"] for n in range(30)})
    crossaisle.ingest(tmp_path / "shop", "files", [store])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    with pytest.raises(TrainingError, match="at least 100 are wanted to fit a blend"):
        pipeline.train_workspace(Workspace(tmp_path / "shop"), settings)
    assert not any((tmp_path / "shop" / part).exists() for part in leakage.TRAINED_FOLDERS)


def test_the_commands_say_why_and_who(trained: tuple[Workspace, dict[str, Any]], settings: Settings) -> None:
    recommender = Recommender.open(trained[0], settings=settings.with_(llm="none"))
    user = next(iter(recommender.histories))
    item = recommender.recommend(user_id=user, k=1).items[0].item.item_id
    told = CliRunner().invoke(app, ["why", "-w", str(trained[0].path), "--user", user, "--item", item])
    assert told.exit_code == 0
    assert "rank 1 of" in told.output
    as_json = json.loads(CliRunner().invoke(app, ["why", "-w", str(trained[0].path), "--user", user, "--item", item, "--json"]).output)
    assert as_json["rank"] == 1
    assert as_json["channels"]
    profile = CliRunner().invoke(app, ["profile", "-w", str(trained[0].path), "--user", user])
    assert profile.exit_code == 0
    assert "█" in profile.output
    events = Events.build(trained[0].table("interactions"), recommender.catalogue)
    assert user in events.users.to_list()
