"""A tuned LLM over a learned order: its vote in recommendations, in why, and in the evaluation; and what stops it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from crossaisle.app.cli.main import app
from crossaisle.data.errors import (
    LeakError,
    ModelError,
    NotTrainedError,
    SettingsError,
    StaleAdapterError,
    StaleTrainingError,
    TrainingError,
)
from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits import leakage
from crossaisle.recommend.attribution.why import why
from crossaisle.recommend.ranking.llm_loading import load_llm_weight
from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from crossaisle.recommend.ranking.trained_ranker import BlendRanker
from crossaisle.recommend.recommender import Recommender
from crossaisle.train import pipeline
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.lora.merge import merge

QUICK = FinetuneConfig(rank=2, alpha=4, epochs=1, batch=4, lr=1e-3, validate_every=50)
EXAMPLES = 24


@pytest.fixture(scope="module")
def taught(
    trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, dict[str, Any]]:
    """A trained store with an adapter of a small LLM."""
    path = tmp_path_factory.mktemp("taught") / "shop"
    shutil.copytree(trained[0].path, path)
    return Workspace(path), pipeline.train_workspace(Workspace(path), small, part="ranker", ranker=QUICK, examples=EXAMPLES)


@pytest.fixture(scope="module")
def voting(taught: tuple[Workspace, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same, with a say for the LLM, whatever it measured."""
    path = tmp_path_factory.mktemp("voting") / "shop"
    shutil.copytree(taught[0].path, path)
    _weigh(path, 1.5)
    return Workspace(path)


def _weigh(path: Path, weight: float) -> None:
    file = path / "adapter" / "card.json"
    card = json.loads(file.read_text())
    file.write_text(json.dumps({**card, "llm_weight": {"weight": weight}}))


def test_the_ranker_is_put_beside_the_blend(taught: tuple[Workspace, dict[str, Any]]) -> None:
    shop, figures = taught
    assert set(figures) == {"ranker", "left_out", "seconds"}
    assert figures["ranker"]["examples"] == EXAMPLES
    card = leakage.read_card(shop.path / "adapter" / "card.json")
    blend = leakage.read_card(shop.path / "blend" / "card.json")
    assert card is not None
    assert blend is not None
    assert (card["snapshot"], card["held_out"]) == (blend["snapshot"], blend["held_out"])
    assert load_llm_weight(shop.path).weight == figures["ranker"]["vote"]


def test_the_vote_moves_the_best_and_nothing_else(voting: Workspace, small: Settings) -> None:
    with_llm = Recommender.open(voting, settings=small)
    without = Recommender.open(voting, settings=small.with_(llm="none"))
    user = next(iter(with_llm.histories))
    answer, plain = with_llm.recommend(user_id=user, k=30, explain=False), without.recommend(user_id=user, k=30, explain=False)
    assert "llm" in answer.items[0].channels
    read = {found.item.item_id for found in answer.items if "llm" in found.channels}
    assert len(read) <= LLM_RERANK_DEPTH
    assert read <= {found.item.item_id for found in plain.items}
    assert [found.item for found in answer.items] != [found.item for found in plain.items]
    assert all("llm" not in found.channels for found in plain.items)
    assert with_llm.recommend(user_id=user, k=30, explain=False).items == answer.items
    # What is not read stands in the order that it had.
    order = [found.item.item_id for found in plain.items]
    left = [found.item.item_id for found in answer.items if found.item.item_id not in read and found.item.item_id in order]
    assert len(left) > 3
    assert left == [item for item in order if item in left]
    # Why tells the same.
    told = why(with_llm, answer.items[0].item.item_id, user_id=user)
    assert (told.rank, told.score) == (1, answer.items[0].score)
    assert told.channels["llm"].contribution is not None
    assert why(without, answer.items[0].item.item_id, user_id=user).channels.get("llm") is None


def test_counterfactuals_are_voted_on_like_recommendations(voting: Workspace, small: Settings) -> None:
    recommender = Recommender.open(voting, settings=small)
    without = Recommender.open(voting, settings=small.with_(llm="none"))
    user = list(recommender.histories)[7]
    item = recommender.recommend(user_id=user, k=20, explain=False).items[4].item.item_id
    told = why(recommender, item, user_id=user)
    assert told.blend == "learned, with the LLM's vote"
    assert told.features is not None
    parts = [one.contribution for one in told.features.strongest]
    assert told.features.base + sum(parts) + told.features.rest == pytest.approx(told.features.total)
    assert told.counterfactuals
    differs = 0
    for one in told.counterfactuals:
        answer = recommender.recommend(user_id=user, rules=one.rules, without=one.without, k=100, explain=False)
        listed = next((found.rank for found in answer if found.item.item_id == item), None)
        assert one.rank == listed or (listed is None and (one.rank is None or one.rank > 100))
        again = why(recommender, item, user_id=user, rules=one.rules, without=one.without, counterfactual=False)
        assert (again.rank, again.of) == (one.rank, one.of)
        differs += why(without, item, user_id=user, rules=one.rules, without=one.without, counterfactual=False).rank != one.rank
    assert differs
    assert why(without, item, user_id=user, counterfactual=False).blend == "learned, without the LLM's vote"


def test_the_order_of_candidates_changes_no_vote(voting: Workspace, small: Settings) -> None:
    recommender = Recommender.open(voting, settings=small)
    trained = recommender.blend_ranker
    assert isinstance(trained, BlendRanker)
    reader = recommender._reader
    assert reader is not None
    user = next(iter(recommender.histories))
    from crossaisle.data.records import Query, Rules
    from crossaisle.recommend.constraints.eligibility import eligible_items

    shopper = recommender.shopper(Query(user, (), None, Rules(), 5))
    mask, _ = eligible_items(Rules(), recommender.catalogue, shopper.rows, shopper.owned)
    seeds = shopper.profile.candidate_query()
    ranked = trained.rank(seeds, shopper.profile, mask)
    places = np.argsort(-ranked.scores, kind="stable")[:LLM_RERANK_DEPTH]
    margins = reader.logit_margins(ranked.proposals, places, seeds, ranked.scores)
    again = reader.logit_margins(ranked.proposals, places[::-1], seeds, ranked.scores)
    np.testing.assert_allclose(margins, again[::-1], atol=1e-4)


def test_a_text_is_not_read_by_an_adapter_that_never_saw_one(voting: Workspace, small: Settings) -> None:
    recommender = Recommender.open(voting, settings=small)
    answer = recommender.recommend(text="something for a rainy camping trip", k=3, explain=False)
    assert recommender._ranker is not None
    assert recommender._ranker.prompt.version == 1
    assert not recommender._ranker.scorer.adapter
    assert "llm" in answer.items[0].channels


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_an_evaluation_shows_what_tuning_and_the_vote_are_worth(
    taught: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path, weight: float
) -> None:
    path = tmp_path / "shop"
    shutil.copytree(taught[0].path, path)
    _weigh(path, weight)
    options = EvaluationOptions(max_cases=40, llm_cases=12, budget=1)
    rankings = Evaluation(Workspace(path), small, tmp_path / "out", options).run()
    report = reports.build(rankings, options, Workspace(path), small.llm)
    systems = report["systems"]
    assert {systems[name]["kind"] for name in ("llm", "llm zero-shot")} == {"channel"}
    assert systems["llm"]["cases"] == systems["llm zero-shot"]["cases"] == 12
    assert systems["blend"]["kind"] == "blend"
    assert systems["blend without llm"]["kind"] == "ablation"
    assert systems["blend without llm"]["cases"] == 40
    assert systems["blend"]["cases"] == systems["blend without graph"]["cases"] == (12 if weight else 40)
    if not weight:
        np.testing.assert_array_equal(rankings.ranked_rows["blend"], rankings.ranked_rows["blend without llm"])
    # Both read the same candidates: those that the blend ranks highest without them.
    for name in ("llm", "llm zero-shot"):
        for of_llm, of_blend in zip(
            rankings.ranked_rows[name], rankings.ranked_rows["blend without llm"][rankings.llm_case_indices], strict=True
        ):
            assert set(of_llm[of_llm >= 0].tolist()) == set(of_blend[:LLM_RERANK_DEPTH].tolist())
    assert "on_llm_part" in systems["blend without llm"]
    assert "llm" not in report["candidate_recall"]
    # What was read is read once.
    lines = (tmp_path / "out" / ".state" / "tuned.jsonl").read_text()
    again = Evaluation(Workspace(path), small, tmp_path / "out", options).run()
    assert (tmp_path / "out" / ".state" / "tuned.jsonl").read_text() == lines
    for name, top in rankings.ranked_rows.items():
        np.testing.assert_array_equal(top, again.ranked_rows[name])
    assert not Evaluation(Workspace(path), small.with_(llm="none"), tmp_path / "none", options).run().llm_systems


def test_a_leak_in_the_prompt_stops_the_evaluation(
    voting: Workspace, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, "prompt_leaks", lambda *_: [leakage.Leak("targets stand in the prompt", 1, "mend the prompt")])
    with pytest.raises(LeakError, match="targets stand in the prompt"):
        Evaluation(voting, small, tmp_path / "out", EvaluationOptions(max_cases=20, llm_cases=3, budget=1)).run()


def test_a_workspace_with_the_adapter_of_an_earlier_version_opens(voting: Workspace, small: Settings, tmp_path: Path) -> None:
    """`train judge` once left a folder `judge`, an adapter for a prompt that is no longer there."""
    path = tmp_path / "shop"
    shutil.copytree(voting.path, path)
    shutil.copytree(path / "adapter", path / "judge")
    card = json.loads((path / "judge" / "card.json").read_text("utf-8"))
    (path / "judge" / "card.json").write_text(json.dumps({**card, "prompt": "judge.v1"}), "utf-8")
    old, new = Recommender.open(Workspace(path), settings=small), Recommender.open(voting, settings=small)
    user = next(iter(new.histories))
    assert old.recommend(user_id=user, k=5, explain=False).items == new.recommend(user_id=user, k=5, explain=False).items


def test_an_adapter_of_another_base_is_refused(voting: Workspace, settings: Settings) -> None:
    recommender = Recommender.open(voting, settings=settings.with_(llm="smollm2"))
    with pytest.raises(StaleAdapterError, match=r"trained on .* train a new one"):
        recommender.recommend(user_id=next(iter(recommender.histories)), k=2, explain=False)
    # By name, without the LLM, it is no matter.
    assert Recommender.open(voting, settings=settings.with_(llm="none")).recommend(user_id=next(iter(recommender.histories)), k=2).items


def test_a_damaged_card_is_one_sentence(voting: Workspace, small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(voting.path, path)
    (path / "adapter" / "card.json").write_text("{")
    with pytest.raises(ModelError, match=r"card.json cannot be read .* train"):
        Recommender.open(path, settings=small).recommend(items=["AV-020"], k=1)


def test_a_merged_model_votes_as_base_and_adapter_do(voting: Workspace, small: Settings, tmp_path: Path) -> None:
    merged = merge(small, voting.path / "adapter", tmp_path / "merged")
    beside = Recommender.open(voting, settings=small)
    inside = Recommender.open(voting, settings=small.with_(llm=str(merged)))
    user = next(iter(beside.histories))
    told = [recommender.recommend(user_id=user, k=20, explain=False) for recommender in (beside, inside)]
    margins = [{found.item.item_id: found.channels["llm"] for found in answer.items if "llm" in found.channels} for answer in told]
    assert margins[0].keys() == margins[1].keys()
    assert max(abs(margins[0][item] - margins[1][item]) for item in margins[0]) < 0.2  # the merged one is rounded to bf16


def test_a_ranker_needs_a_blend_of_the_same_data(
    demo_workspace: Workspace, trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path
) -> None:
    untrained = tmp_path / "untrained"
    shutil.copytree(demo_workspace.path, untrained)
    with pytest.raises(NotTrainedError, match="blend` first"):
        pipeline.train_workspace(Workspace(untrained), small, part="ranker")
    with pytest.raises(StaleTrainingError, match="blend` first, with the same --seed"):
        pipeline.train_workspace(trained[0], small, Split(seed=3), part="ranker")
    with pytest.raises(TrainingError, match="no LLM to train"):
        pipeline.train_workspace(trained[0], small.with_(llm="none"), part="ranker")
    assert not (trained[0].path / "adapter").exists()


def test_the_command_takes_parts(trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(trained[0].path, path)
    run = CliRunner()
    base = ["train", "-w", str(path), "--llm", small.llm, "--quantization", "fp32"]
    told = run.invoke(app, [*base, "ranker", "--examples", "24", "--merge", str(tmp_path / "merged"), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["ranker"]["examples"] == 24
    assert (tmp_path / "merged" / "model.safetensors").exists()
    again = run.invoke(app, [*base, "ranker", "--examples", "24"])
    assert "weight of its vote" in again.output
    graph = run.invoke(app, ["train", "-w", str(path), "graph", "--convolution", "attention"])
    assert graph.exit_code == 0, graph.output
    assert "NDCG@10 of the graph" in graph.output
    for wrong, says in (
        (["everything"], "what can be trained is graph, blend, ranker, explainer, all"),
        (["ranker", "--examples", "0"], "--examples must be 1 or more"),
        (["graph", "--convolution", "odd"], "--convolution is normalised or attention"),
        (["ranker", "--merge", str(tmp_path / "merged")], "is not empty"),
    ):
        refused = run.invoke(app, [*base, *wrong])
        assert isinstance(refused.exception, SettingsError)
        assert says in str(refused.exception)
