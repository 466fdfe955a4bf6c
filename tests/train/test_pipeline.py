"""Training a store end to end: out-of-fold queries, stored parts, and their use in recommendations and evaluations."""

from __future__ import annotations

import json
import re
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
from crossaisle.recommend.ranking import learned_blend
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.channels.base import BUILTIN_CHANNELS, TrainingContext
from crossaisle.retrieval.channels.behavioural import ItemSimilarity
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS
from crossaisle.retrieval.channels.user_knn import UserKNN
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS
from crossaisle.train import channel_tuning, out_of_fold, pipeline
from crossaisle.train.out_of_fold import collect_queries
from crossaisle.train.questions import KINDS, sample_questions

from ..quick_training import quick_training

CHANNELS = {*BUILTIN_CHANNELS, *DEFAULT_CONFIGS, *TRAINABLE_CHANNELS}
Trained = tuple[Workspace, dict[str, Any]]


@pytest.fixture(scope="module")
def view(demo_workspace: Workspace, settings: Settings) -> TrainingView:
    catalogue, index, _ = load(demo_workspace, settings)
    return TrainingView.from_workspace(demo_workspace, HeldOut(), index, item_vectors(index, catalogue))


@pytest.fixture(scope="module")
def recommender(trained: Trained, settings: Settings) -> Recommender:
    """A recommender with the trained blend of all channels, without an LLM."""
    return Recommender.open(trained[0], settings=settings.with_(llm="none"))


# ---------------------------------------------------------------------- training


def test_entries_match_the_cases_of_an_evaluation(view: TrainingView) -> None:
    everybody = np.ones(len(view.events.users), dtype=bool)
    questions = sample_questions(view, everybody, view.catalogue.users, np.random.default_rng(0), len(everybody))
    cases = questions.take(np.flatnonzero(questions.kind == KINDS.index("entry"))).cases
    category = view.catalogue.category
    assert len(cases) > 100
    for case in range(len(cases)):
        history_categories = set(category[cases.histories[case]].tolist())
        target_categories = set(category[cases.targets[case]].tolist())
        assert len(target_categories) == 1
        assert not target_categories & history_categories
    # The last entry of a user is the case of that user in the users protocol.
    protocol_cases = protocols.sample_cases(Split(test=1.0), view.events, view.catalogue, "test", "new").cases
    last = {user: case for case, user in enumerate(cases.users)}
    equal = [
        set(cases.targets[last[user]].tolist()) == set(protocol_cases.targets[case].tolist())
        for case, user in enumerate(protocol_cases.users)
        if user in last
    ]
    assert np.mean(equal) > 0.9  # near-duplicates of a history item are removed from the entries only


def test_queries_are_scored_by_channels_without_their_user(view: TrainingView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_fold, "MAX_QUERIES_PER_KIND", 100)
    fold_users: list[frozenset[str]] = []

    def fit_channels(fold_view: TrainingView, _: TrainingContext) -> dict[str, Any]:
        fold_users.append(frozenset(fold_view.interactions["user_id"].unique().to_list()))
        return {}

    queries = collect_queries(view, TrainingContext(), fit_channels)
    all_users = frozenset(view.interactions["user_id"].unique().to_list())
    assert len(fold_users) == out_of_fold.FOLDS
    fold_of = {user: fold for fold, training_users in enumerate(fold_users) for user in all_users - training_users}
    assert set(fold_of) == all_users  # each user is held out of one fold
    assert sum(len(all_users - training_users) for training_users in fold_users) == len(all_users)
    # The pair counts are those of the fold's training users.
    pairs = view.interactions.select("user_id", "item_id").unique()
    ids = view.catalogue.items["item_id"]
    checked = 0
    for query in range(0, len(queries.users), 10):
        training_pairs = pairs.filter(pl.col("user_id").is_in(sorted(fold_users[fold_of[queries.users[query]]])))
        candidates = slice(int(queries.dataset.starts[query]), int(queries.dataset.starts[query + 1]))
        rows, counts = queries.rows[candidates][:40].tolist(), queries.pair_counts[candidates][:40].tolist()
        for row, (anchor, both, anchor_only) in zip(rows, counts, strict=True):
            if anchor >= 0:
                anchor_users = set(training_pairs.filter(pl.col("item_id") == ids[anchor])["user_id"])
                item_users = set(training_pairs.filter(pl.col("item_id") == ids[row])["user_id"])
                assert (both, anchor_only) == (len(anchor_users & item_users), len(anchor_users))
                checked += 1
    assert checked > 20


def test_every_trained_part_is_stored_with_its_card(trained: Trained) -> None:
    shop, metrics = trained
    assert metrics["left_out"] == {}
    for name in DEFAULT_CHANNELS:
        tried = {trial["penalty"]: trial for trial in metrics[name]["tried"]}
        assert list(tried) == [option.penalty for option in channel_tuning.grid(name, order="time")]
        assert metrics[name]["penalty"] in tried
        for trial in tried.values():
            assert set(trial["by_kind"]) <= set(channel_tuning.TUNED_KINDS)
            assert trial["ndcg@10"] == pytest.approx(np.mean(list(trial["by_kind"].values())), abs=2e-5)
    assert metrics["blend"]["answered"] > 200
    assert {"entry", "whole", "cut", "short"} <= set(metrics["blend"]["kinds"]) <= set(KINDS)
    configs = learned_blend.load_channel_configs(shop.path)
    assert set(configs) == set(DEFAULT_CONFIGS)
    assert all(config in channel_tuning.grid(name, order="time") for name, config in configs.items())
    for part in (*TRAINABLE_CHANNELS, "blend"):
        card = leakage.read_card(shop.path / part / "card.json")
        assert card is not None
        assert card["snapshot"] == shop.manifest.snapshot
        assert card["held_out"]["protocol"] == "users"
    models = json.loads((shop.path / "blend" / "models.json").read_text())
    assert set(models) == {"blend"} | {f"blend without {name}" for name in CHANNELS | {"profile"}}
    assert not list(shop.path.glob(".staging*"))


def test_serving_counts_the_channels_with_the_stored_configurations(trained: Trained, settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(trained[0].path, tmp_path / "shop")
    file = tmp_path / "shop" / "blend" / "channels.json"
    configs = json.loads(file.read_text("utf-8"))
    configs["item_knn"] |= {"similarity": "cosine", "decay": 0.5}
    configs["user_knn"]["neighbors"] = 3
    file.write_text(json.dumps(configs), "utf-8")
    blend_ranker = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none")).blend_ranker
    assert blend_ranker is not None
    channels = blend_ranker.retriever.further
    assert isinstance(channels["item_knn"], ItemSimilarity)
    assert channels["item_knn"].decay == 0.5
    assert isinstance(channels["user_knn"], UserKNN)
    assert channels["user_knn"].config.neighbors == 3
    assert set(configs) == set(DEFAULT_CONFIGS)
    assert "co_occurrence" not in channels


def test_one_category_raises(make_store: Callable[..., Path], settings: Settings, tmp_path: Path) -> None:
    store = make_store({"a": "One", "b": "One"}, {f"u{n}": ["a", "b"] for n in range(2)})
    crossaisle.ingest(tmp_path / "shop", "files", [store])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    with pytest.raises(CrossaisleError, match="no user has purchases in two categories"):
        pipeline.train_workspace(Workspace(tmp_path / "shop"), settings)
    result = CliRunner().invoke(app, ["train", "-w", str(tmp_path / "shop")])
    assert isinstance(result.exception, TrainingError)
    assert not (tmp_path / "shop" / "blend").exists()


def test_too_few_users_raise_and_leave_no_files(make_store: Callable[..., Path], settings: Settings, tmp_path: Path) -> None:
    store = make_store({"a": "One", "b": "Two"}, {f"u{n}": ["a", "b"] for n in range(2)})
    crossaisle.ingest(tmp_path / "shop", "files", [store])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    with pytest.raises(TrainingError, match="a blend needs at least 20"):
        pipeline.train_workspace(Workspace(tmp_path / "shop"), settings)
    assert not any((tmp_path / "shop" / part).exists() for part in (*TRAINABLE_CHANNELS, *leakage.BLEND_FOLDERS))


def test_by_default_only_channels_that_pay_are_trained(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(demo_workspace.path, tmp_path / "shop")
    with quick_training():
        result = CliRunner().invoke(app, ["train", "-w", str(tmp_path / "shop"), "--llm", "none"])
    assert result.exit_code == 0, result.output
    assert all((tmp_path / "shop" / name).is_dir() for name in DEFAULT_CHANNELS)
    assert not (tmp_path / "shop" / "graph").exists()
    assert not (tmp_path / "shop" / "complements").exists()
    assert "--channels" in result.output
    printed = " ".join(result.output.split())
    for kind in ("entry", "whole", "cut", "short"):
        assert re.search(rf"questions of kind {kind} .*?alone: 0\.\d+; \w+ 0\.\d+; 0\.\d+", printed)
    for name in ("factors", "item regression"):
        assert re.search(rf"penalty of the {name}, .*?: \d+; \d+: 0\.\d+, ", printed)
    recommender = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    assert recommender.blend_ranker is not None
    assert set(recommender.blend_ranker.model.channels) == CHANNELS - {"graph", "complements"} | {"profile"}


# ---------------------------------------------------------------------- evaluation


def test_a_trained_store_is_evaluated(trained: Trained, settings: Settings, tmp_path: Path) -> None:
    shop, _ = trained
    options = EvaluationOptions(max_cases=60, budget=1)
    rankings = Evaluation(shop, settings.with_(llm="none"), tmp_path, options).run()
    report = reports.build(rankings, options, shop, "none")
    kinds = rankings.system_kinds
    assert kinds["blend"] == "blend"
    assert {name for name, kind in kinds.items() if kind == "channel"} == CHANNELS
    assert sum(kind == "ablation" for kind in kinds.values()) == len(CHANNELS) + 1
    recall = report["candidate_recall"]
    assert list(recall["union"]) == ["50", "100", "200", "500"]
    for name, values in recall.items():
        shares = list(values.values())
        assert shares == sorted(shares), name
    for name, rows in rankings.channel_rows.items():
        assert (rows[:, :200] == rankings.ranked_rows[name]).all()
    oracle = report["oracle"]
    assert recall["union"]["50"] <= oracle["recall"]["value"] <= 1
    for name, system in report["systems"].items():
        if name.startswith("blend"):
            assert system["ndcg@10"]["value"] <= oracle["ndcg@10"]["value"] + 1e-9, "no order of these candidates is better"
    assert recall["union"]["50"] >= max(values["50"] for name, values in recall.items() if name != "union")
    assert report["systems"]["blend"]["ndcg@10"]["value"] > report["systems"]["random"]["ndcg@10"]["value"]
    levels = report["novelty"]
    assert [level["novelty"] for level in levels] == [0, 0.25, 0.5, 0.75, 1]
    assert levels[0]["ndcg@10"]["value"] == report["systems"]["blend"]["ndcg@10"]["value"]
    assert levels[0]["minus_none"]["value"] == 0
    assert levels[-1]["average_popularity"] < levels[0]["average_popularity"]
    new_items = {(section["places"], section["up_to"]): section for section in report["new_items"]}
    assert list(new_items) == [(0, 0), (1, 0), (2, 0), (1, 2), (2, 2)]
    assert new_items[0, 0]["all"]["ndcg@10"]["value"] == levels[0]["ndcg@10"]["value"]
    assert new_items[0, 0]["at most two users"]["cases"] >= new_items[0, 0]["cold"]["cases"]
    users = rankings.training_view.catalogue.users
    for (slots, max_users), top in rankings.new_items.items():
        section = new_items[slots, max_users]
        assert section["all"]["minus_none"]["value"] == pytest.approx(
            section["all"]["ndcg@10"]["value"] - levels[0]["ndcg@10"]["value"], abs=2e-5
        )
        for case, rows in enumerate(top[:, :10].tolist()):
            is_new = rankings.eligible.mask(rankings.cases, slice(case, case + 1))[0] & (users <= max_users)
            assert len(set(rows)) == 10
            assert is_new[rows].sum() >= min(slots, int(is_new.sum()))
    page(json.loads(reports.write(report, tmp_path).read_text()), tmp_path / "report.html")
    assert "An oracle, which ranks all targets among these candidates first" in (tmp_path / "report.html").read_text()
    assert "Cost of the popularity penalty" in (tmp_path / "report.html").read_text()
    assert "Cost of slots reserved for new items" in (tmp_path / "report.html").read_text()
    with pytest.raises(LeakError, match=r"trained part .* did not hold out .* train it again"):
        Evaluation(shop, settings.with_(llm="none"), tmp_path / "other", EvaluationOptions(max_cases=60, budget=1, seed=1)).run()


# ---------------------------------------------------------------------- serving


def test_the_blend_orders_the_recommendations(recommender: Recommender) -> None:
    user = next(iter(recommender.histories))
    answer = recommender.recommend(user_id=user, k=5)
    assert len(answer.items) == 5
    scores = [recommendation.score for recommendation in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert {"sequential", "graph"} & set(answer.items[0].channels)
    history = recommender.histories.of(user).rows.tolist()
    history_categories = {recommender.catalogue.category_name(row) for row in history}
    assert not history_categories & {recommendation.item.category[0] for recommendation in answer.items}
    assert recommender.recommend(user_id=user, k=5).items == answer.items
    explanation = why(recommender, answer.items[0].item.item_id, user_id=user)
    assert explanation.rank == 1
    assert explanation.score == answer.items[0].score
    assert explanation.left_out is None
    assert explanation.anchor is None or explanation.anchor.item_id == answer.items[0].anchor
    shares = [share for _, share in explanation.attention]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-6
    assert {item.item_id for item, _ in explanation.attention} <= {recommender.catalogue.id(row) for row in history}
    assert sum(channel.contribution or 0.0 for channel in explanation.channels.values()) > 0  # above an average candidate


def test_why_names_the_rules_that_exclude_an_item(recommender: Recommender) -> None:
    user = next(iter(recommender.histories))
    owned = recommender.catalogue.id(int(recommender.histories.of(user).rows[0]))
    explanation = why(recommender, owned, user_id=user)
    assert (explanation.rank, explanation.left_out) == (None, "owned already")
    assert explanation.removed_by == ("owned already", "of a category that the shopper knows")
    allowed = why(recommender, owned, user_id=user, rules=Rules(exclude_owned=False))
    assert allowed.left_out == "of a category that the shopper knows"
    with pytest.raises(QueryError, match="nothing to go by"):
        why(recommender, owned)
    with pytest.raises(QueryError, match="no item 'nope'"):
        why(recommender, "nope", user_id=user)


@pytest.mark.parametrize("with_blend", [True, False])
def test_slots_are_reserved_for_new_items(trained: Trained, demo_workspace: Workspace, settings: Settings, with_blend: bool) -> None:
    recommender = Recommender.open(trained[0] if with_blend else demo_workspace, settings=settings.with_(llm="none"))
    users, row = recommender.catalogue.users, recommender.catalogue.row
    user = next(iter(recommender.histories))
    plain = recommender.recommend(user_id=user, k=5, explain=False)
    reserved = recommender.recommend(user_id=user, k=5, new_items=2, explain=False)
    assert [recommendation.item for recommendation in reserved.items[:3]] == [recommendation.item for recommendation in plain.items[:3]]
    assert [int(users[row(recommendation.item.item_id)]) for recommendation in reserved.items[3:]] == [0, 0]
    assert all(0 < recommendation.score < reserved.items[0].score for recommendation in reserved.items[3:])
    many = recommender.recommend(user_id=user, k=10, new_items=10, explain=False)
    new = [recommendation for recommendation in many.items if users[row(recommendation.item.item_id)] == 0]
    assert len(new) <= int((users == 0).sum())
    assert any("of 10 new items" in line for line in many.unsatisfied)
    rare = recommender.recommend(user_id=user, k=5, new_items=2, new_up_to=5, explain=False)
    assert [recommendation.item for recommendation in rare.items[:3]] == [recommendation.item for recommendation in plain.items[:3]]
    assert all(int(users[row(recommendation.item.item_id)]) <= 5 for recommendation in rare.items[3:])
    with pytest.raises(QueryError, match="the maximum number of users of a new item must be 0 or more, not -1"):
        recommender.recommend(user_id=user, k=3, new_items=1, new_up_to=-1)
    with pytest.raises(QueryError, match="new items must be 0 to 3"):
        recommender.recommend(user_id=user, k=3, new_items=4)


def test_a_text_query_does_not_use_the_blend(recommender: Recommender) -> None:
    answer = recommender.recommend(text="something for a rainy camping trip", k=3)
    assert answer.items
    assert set(answer.items[0].channels) <= {"semantic", "text_behaviour", "associations", "popularity"}


def test_after_new_data_the_graph_is_not_used(
    trained: Trained, settings: Settings, demo_files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, files = tmp_path / "shop", tmp_path / "files"
    shutil.copytree(trained[0].path, path)
    shutil.copytree(demo_files, files)
    lines = (files / "interactions.jsonl").read_text().splitlines()
    (files / "interactions.jsonl").write_text("\n".join(lines[:-50]) + "\n")
    crossaisle.ingest(path, "files", [files])
    crossaisle.index(Workspace(path), settings)
    recommender = Recommender.open(path, settings=settings.with_(llm="none"))
    answer = recommender.recommend(user_id=next(iter(recommender.histories)), k=3)
    assert answer.items
    assert "graph" not in answer.items[0].channels
    assert "the graph channel is not used" in caplog.text
    assert "factors" in {channel for recommendation in answer.items for channel in recommendation.channels}
    with pytest.raises(LeakError, match=r"factors.*item_regression.*complements.*graph.*blend"):
        Evaluation(Workspace(path), settings.with_(llm="none"), tmp_path / "out", EvaluationOptions(max_cases=20, budget=1)).run()


def test_the_commands_why_and_profile(trained: Trained, recommender: Recommender) -> None:
    user, shop = next(iter(recommender.histories)), str(trained[0].path)
    item = recommender.recommend(user_id=user, k=1).items[0].item.item_id
    printed = CliRunner().invoke(app, ["why", "-w", shop, "--user", user, "--item", item])
    assert printed.exit_code == 0
    assert "rank 1 of" in printed.output
    as_json = json.loads(CliRunner().invoke(app, ["why", "-w", shop, "--user", user, "--item", item, "--json"]).output)
    assert as_json["rank"] == 1
    assert as_json["channels"]
    profile = CliRunner().invoke(app, ["profile", "-w", shop, "--user", user])
    assert profile.exit_code == 0
    assert "█" in profile.output
    events = Events.build(trained[0].table("interactions"), recommender.catalogue)
    assert user in events.users.to_list()
