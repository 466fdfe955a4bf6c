"""The fine-tuned LLM re-ranks the blend's candidates: in recommendations, in `why` and in the evaluation; and its error cases."""

from __future__ import annotations

import dataclasses
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
    StaleTrainingError,
    TrainingError,
)
from crossaisle.data.records import LLMUse
from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits import leakage
from crossaisle.recommend.attribution.why import why
from crossaisle.recommend.ranking.blend_ranker import BlendRanker
from crossaisle.recommend.ranking.features import FeatureMatrix
from crossaisle.recommend.ranking.llm_loading import load_measured_weight, weight_file, weight_in_use
from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH, LLMWeight
from crossaisle.recommend.recommender import Recommender
from crossaisle.recommend.serialization import to_dict
from crossaisle.train import pipeline
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.lora.merge import merge

QUICK = FinetuneConfig(rank=2, alpha=4, epochs=1, batch=4, lr=1e-3, validate_every=50)
EXAMPLES = 24


@pytest.fixture(scope="module")
def tuned(
    trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, dict[str, Any]]:
    """A trained store with a ranking adapter of a small LLM."""
    path = tmp_path_factory.mktemp("tuned") / "shop"
    shutil.copytree(trained[0].path, path)
    return Workspace(path), pipeline.train_workspace(Workspace(path), small, part="ranker", ranker=QUICK, examples=EXAMPLES)


@pytest.fixture(scope="module")
def weighted(tuned: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same with a fixed LLM weight, whatever was measured."""
    path = tmp_path_factory.mktemp("weighted") / "shop"
    shutil.copytree(tuned[0].path, path)
    _set_llm_weight(path, small, 1.5)
    return Workspace(path)


def _set_llm_weight(path: Path, settings: Settings, weight: float, low: float = 0.001) -> None:
    """Write a measured weight, whatever was measured. Args: low: lower bound of the gain."""
    file = weight_file(path, settings)
    file.parent.mkdir(exist_ok=True)
    gain = {"value": 0.01, "low": low, "high": 0.02}
    file.write_text(json.dumps({"weight": LLMWeight(weight).to_dict(), "gain": gain, "depth": LLM_RERANK_DEPTH}))


def test_the_adapter_is_stored_with_the_blend_s_snapshot_and_split(tuned: tuple[Workspace, dict[str, Any]], small: Settings) -> None:
    shop, figures = tuned
    assert set(figures) == {"ranker", "left_out", "seconds"}
    assert figures["ranker"]["examples"] == EXAMPLES
    card = leakage.read_card(shop.path / "adapter" / "card.json")
    blend = leakage.read_card(shop.path / "blend" / "card.json")
    assert card is not None
    assert blend is not None
    assert (card["snapshot"], card["held_out"]) == (blend["snapshot"], blend["held_out"])
    measured = figures["ranker"]["llm_weight"]
    stored = load_measured_weight(shop.path, small)
    if "left_out" in measured:
        assert stored is None
    else:
        assert stored is not None
        assert stored.weight.to_dict() == measured["weight"]
        assert figures["ranker"]["vote"] == measured["weight"]["weight"]


def test_only_the_top_candidates_are_reranked(weighted: Workspace, small: Settings) -> None:
    with_llm = Recommender.open(weighted, settings=small)
    without = Recommender.open(weighted, settings=small.with_(llm="none"))
    user = next(iter(with_llm.histories))
    answer, plain = with_llm.recommend(user_id=user, k=30, explain=False), without.recommend(user_id=user, k=30, explain=False)
    assert "llm" in answer.items[0].channels
    scored = {entry.item.item_id for entry in answer.items if "llm" in entry.channels}
    assert len(scored) <= LLM_RERANK_DEPTH
    assert scored <= {entry.item.item_id for entry in plain.items}
    assert [entry.item for entry in answer.items] != [entry.item for entry in plain.items]
    assert all("llm" not in entry.channels for entry in plain.items)
    assert with_llm.recommend(user_id=user, k=30, explain=False).items == answer.items
    # Candidates that the LLM does not score keep their order.
    order = [entry.item.item_id for entry in plain.items]
    others = [entry.item.item_id for entry in answer.items if entry.item.item_id not in scored and entry.item.item_id in order]
    assert len(others) > 3
    assert others == [item for item in order if item in others]
    # `why` gives the same rank and score.
    explanation = why(with_llm, answer.items[0].item.item_id, user_id=user)
    assert (explanation.rank, explanation.score) == (1, answer.items[0].score)
    assert explanation.channels["llm"].contribution is not None
    assert why(without, answer.items[0].item.item_id, user_id=user).channels.get("llm") is None


def test_counterfactuals_are_reranked_like_recommendations(weighted: Workspace, small: Settings) -> None:
    recommender = Recommender.open(weighted, settings=small)
    without = Recommender.open(weighted, settings=small.with_(llm="none"))
    user = list(recommender.histories)[7]
    item = recommender.recommend(user_id=user, k=20, explain=False).items[4].item.item_id
    explanation = why(recommender, item, user_id=user)
    assert explanation.blend == "learned, with the LLM's vote"
    assert explanation.features is not None
    contributions = [feature.contribution for feature in explanation.features.strongest]
    assert explanation.features.base + sum(contributions) + explanation.features.rest == pytest.approx(explanation.features.total)
    assert explanation.counterfactuals
    differs = 0
    for counterfactual in explanation.counterfactuals:
        answer = recommender.recommend(user_id=user, rules=counterfactual.rules, without=counterfactual.without, k=100, explain=False)
        list_rank = next((entry.rank for entry in answer if entry.item.item_id == item), None)
        assert counterfactual.rank == list_rank or (list_rank is None and (counterfactual.rank is None or counterfactual.rank > 100))
        again = why(recommender, item, user_id=user, rules=counterfactual.rules, without=counterfactual.without, counterfactual=False)
        assert (again.rank, again.of) == (counterfactual.rank, counterfactual.of)
        unranked = why(without, item, user_id=user, rules=counterfactual.rules, without=counterfactual.without, counterfactual=False)
        differs += unranked.rank != counterfactual.rank
    assert differs
    assert why(without, item, user_id=user, counterfactual=False).blend == "learned, without the LLM's vote"


def test_the_order_of_candidates_does_not_change_the_margins(weighted: Workspace, small: Settings) -> None:
    recommender = Recommender.open(weighted, settings=small)
    blend_ranker = recommender.blend_ranker
    assert isinstance(blend_ranker, BlendRanker)
    reranker = recommender._reranker
    assert reranker is not None
    user = next(iter(recommender.histories))
    from crossaisle.data.records import Query, Rules
    from crossaisle.recommend.constraints.eligibility import eligible_items

    shopper = recommender.shopper(Query(user, (), None, Rules(), 5))
    mask, _ = eligible_items(Rules(), recommender.catalogue, shopper.rows, shopper.owned)
    query = shopper.profile.candidate_query()
    scored = blend_ranker.rank(query, shopper.profile, mask)
    indices = np.argsort(-scored.scores, kind="stable")[:LLM_RERANK_DEPTH]
    features = FeatureMatrix(scored.model.feature_names, scored.features)
    margins = reranker.logit_margins(scored.proposals, indices, query, scored.scores, features)
    reversed_margins = reranker.logit_margins(scored.proposals, indices[::-1], query, scored.scores, features)
    np.testing.assert_allclose(margins, reversed_margins[::-1], atol=1e-4)


@pytest.mark.parametrize("knows_texts", [True, False])
def test_a_text_query_is_ranked_with_an_adapter_that_was_trained_on_pairs(
    weighted: Workspace, small: Settings, tmp_path: Path, knows_texts: bool
) -> None:
    """Adapters of former versions were not."""
    path = tmp_path / "shop"
    shutil.copytree(weighted.path, path)
    card = json.loads((path / "adapter" / "card.json").read_text())
    assert card["pairs"]["examples"] > 0
    if not knows_texts:
        del card["pairs"]
        (path / "adapter" / "card.json").write_text(json.dumps(card))
    recommender = Recommender.open(path, settings=small.with_(llm_policy="always"))
    shutil.rmtree(path / "llm-texts")
    answer = recommender.recommend(text="something for a rainy camping trip", k=3, explain=False)
    assert recommender._ranker is not None
    assert recommender._ranker.prompt.version == (4 if knows_texts else 1)
    assert recommender._ranker.scorer.adapter is knows_texts
    assert "llm" in answer.items[0].channels
    assert answer.llm is not None
    assert (answer.llm.adapter is not None) is knows_texts


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_an_evaluation_compares_tuned_and_zero_shot_llm(
    tuned: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path, weight: float
) -> None:
    path = tmp_path / "shop"
    shutil.copytree(tuned[0].path, path)
    _set_llm_weight(path, small, weight)
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
    # Both score the same candidates: those that the blend alone ranks highest.
    for name in ("llm", "llm zero-shot"):
        for llm_rows, blend_rows in zip(
            rankings.ranked_rows[name], rankings.ranked_rows["blend without llm"][rankings.llm_case_indices], strict=True
        ):
            assert set(llm_rows[llm_rows >= 0].tolist()) == set(blend_rows[:LLM_RERANK_DEPTH].tolist())
    assert "on_llm_part" in systems["blend without llm"]
    assert "llm" not in report["candidate_recall"]
    # Stored margins are not computed again.
    lines = (tmp_path / "out" / ".state" / "tuned.jsonl").read_text()
    again = Evaluation(Workspace(path), small, tmp_path / "out", options).run()
    assert (tmp_path / "out" / ".state" / "tuned.jsonl").read_text() == lines
    for name, top in rankings.ranked_rows.items():
        np.testing.assert_array_equal(top, again.ranked_rows[name])
    assert not Evaluation(Workspace(path), small.with_(llm="none"), tmp_path / "none", options).run().llm_systems


def test_a_leak_in_the_prompt_stops_the_evaluation(
    weighted: Workspace, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, "prompt_leaks", lambda *_: [leakage.Leak("targets stand in the prompt", 1, "mend the prompt")])
    with pytest.raises(LeakError, match="targets stand in the prompt"):
        Evaluation(weighted, small, tmp_path / "out", EvaluationOptions(max_cases=20, llm_cases=3, budget=1)).run()


def test_a_workspace_with_the_adapter_of_an_earlier_version_opens(weighted: Workspace, small: Settings, tmp_path: Path) -> None:
    """`train judge` once left a folder `judge`, an adapter for a prompt that is no longer there."""
    path = tmp_path / "shop"
    shutil.copytree(weighted.path, path)
    shutil.copytree(path / "adapter", path / "judge")
    card = json.loads((path / "judge" / "card.json").read_text("utf-8"))
    (path / "judge" / "card.json").write_text(json.dumps({**card, "prompt": "judge.v1"}), "utf-8")
    old, new = Recommender.open(Workspace(path), settings=small), Recommender.open(weighted, settings=small)
    user = next(iter(new.histories))
    assert old.recommend(user_id=user, k=5, explain=False).items == new.recommend(user_id=user, k=5, explain=False).items


def test_an_adapter_of_another_base_model_is_not_used_and_the_answer_says_so(weighted: Workspace, settings: Settings) -> None:
    recommender = Recommender.open(weighted, settings=settings.with_(llm="smollm2"))
    answer = recommender.recommend(user_id=next(iter(recommender.histories)), k=2, explain=False)
    assert answer.llm is not None
    assert answer.llm.candidates_read == 0
    assert "this store's adapter is of another model, and its weight here is not measured" in answer.llm.summary
    # Without an LLM, the adapter is not used.
    assert Recommender.open(weighted, settings=settings.with_(llm="none")).recommend(user_id=next(iter(recommender.histories)), k=2).items


def test_the_answer_says_what_the_llm_did(weighted: Workspace, small: Settings, tmp_path: Path) -> None:
    user = next(iter(Recommender.open(weighted, settings=small).histories))

    def use(path: Path = weighted.path, **changes: object) -> LLMUse:
        recommender = Recommender.open(Workspace(path), settings=small.with_(**changes))
        answer = recommender.recommend(user_id=user, k=3, explain=False)
        assert answer.llm is not None
        assert to_dict(answer)["llm"] == dataclasses.asdict(answer.llm)
        return answer.llm

    read = use()
    assert (read.model, read.candidates_read, read.weight, read.sentences_generated) == (small.llm, 20, 1.5, 0)
    assert read.adapter is not None
    assert read.tokens_in > 20 * 10
    assert read.summary == f"ranked by the blend and {small.llm} with this store's adapter (weight 1.5, 20 read)"
    assert use(rerank_depth=5).candidates_read == 5
    assert use(rerank_depth=5).tokens_in < read.tokens_in
    assert use(llm_weight="0.25").weight == 0.25
    silent = {
        "there is none (--llm none)": use(llm="none"),
        "--llm-policy is never": use(llm_policy="never"),
        "--llm-weight is 0": use(llm_weight=0),
    }
    path = tmp_path / "shop"
    shutil.copytree(weighted.path, path)
    _set_llm_weight(path, small, 0.5, low=-0.002)
    silent["its measured gain here is +0.0100 [-0.0020, +0.0200] NDCG@10"] = use(path)
    assert use(path, llm_policy="always").weight == 0.5
    _set_llm_weight(path, small, 0.0)
    silent["its measured weight here is 0"] = use(path)
    weight_file(path, small).unlink()
    silent["its weight here is not measured (crossaisle train llm-weight)"] = use(path)
    shutil.rmtree(path / "blend")
    silent["its weight is measured with a trained blend, and this store has none in use"] = use(path)
    for reason, figures in silent.items():
        assert figures.summary == f"the LLM did not read: {reason}"
        assert (figures.candidates_read, figures.weight, figures.tokens_in, figures.adapter) == (0, 0.0, 0, None)
    assert silent["there is none (--llm none)"].model is None
    # A set weight needs no blend of the store.
    assert use(path, llm_weight=0.3).candidates_read == 20


def test_texts_that_the_llm_writes_are_counted(weighted: Workspace, small: Settings) -> None:
    recommender = Recommender.open(weighted, settings=small.with_(llm_weight=0.5))
    answer = recommender.recommend(text="something for a rainy camping trip", k=3)
    assert answer.llm is not None
    assert answer.llm.summary.startswith(f"ranked by the channels' ranks and {small.llm} with this store's adapter (weight 0.5, ")
    assert answer.llm.sentences_generated > 0
    without = recommender.recommend(text="something for a rainy camping trip", k=3, explain=False)
    assert without.llm is not None
    assert (without.llm.candidates_read, without.llm.sentences_generated) == (answer.llm.candidates_read, 0)


def test_weights_of_former_cards_and_damaged_files(weighted: Workspace, small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(weighted.path, path)
    file = weight_file(path, small)
    for content in (
        "{",
        "[]",
        '{"weight": {"weight": NaN}, "gain": {}, "depth": 20}',
        '{"weight": {"weight": -1}, "gain": {}, "depth": 20}',
    ):
        file.write_text(content)
        with pytest.raises(ModelError, match=r"cannot be read .* train -w .* llm-weight` again"):
            Recommender.open(path, settings=small).recommend(items=["AV-020"], k=1, explain=False)
    file.unlink()
    card = json.loads((path / "adapter" / "card.json").read_text())
    (path / "adapter" / "card.json").write_text(json.dumps({**card, "vote": {"weight": 0.4}}))
    assert weight_in_use(path, small, has_blend=True).weight == LLMWeight(0.4)


def test_a_damaged_card_raises_with_the_remedy(weighted: Workspace, small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(weighted.path, path)
    (path / "adapter" / "card.json").write_text("{")
    with pytest.raises(ModelError, match=r"card.json cannot be read .* train"):
        Recommender.open(path, settings=small).recommend(items=["AV-020"], k=1)


def test_a_merged_model_gives_the_margins_of_base_and_adapter(weighted: Workspace, small: Settings, tmp_path: Path) -> None:
    merged = merge(small, weighted.path / "adapter", tmp_path / "merged")
    with_adapter = Recommender.open(weighted, settings=small)
    with_merged = Recommender.open(weighted, settings=small.with_(llm=str(merged)))
    user = next(iter(with_adapter.histories))
    answers = [recommender.recommend(user_id=user, k=20, explain=False) for recommender in (with_adapter, with_merged)]
    margins = [{entry.item.item_id: entry.channels["llm"] for entry in answer.items if "llm" in entry.channels} for answer in answers]
    both = margins[0].keys() & margins[1].keys()
    assert len(both) >= max(map(len, margins)) - 2 > 0  # the merged weights are rounded to bf16, which may change the last places
    assert max(abs(margins[0][item] - margins[1][item]) for item in both) < 0.2


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


def test_pairs_alone_need_no_blend_of_the_same_data(trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path) -> None:
    shop = Workspace(Path(shutil.copytree(trained[0].path, tmp_path / "shop")))
    tiny = FinetuneConfig(rank=2, alpha=4.0)
    metrics = pipeline.train_workspace(shop, small, Split(seed=3), part="ranker", ranker=tiny, examples=0, pairs=24)["ranker"]
    assert metrics["examples"] == 24
    assert "with the same --seed" in metrics["llm_weight"]["left_out"]
    assert json.loads((shop.path / "adapter" / "card.json").read_text())["questions"] is None


TRAINING = ("ranker", "--examples", "24", "--pairs", "20", "--rank", "2", "--lr", "0.001", "--blocks", "0", "--epochs", "2")


def test_the_command_takes_parts(trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(trained[0].path, path)
    run = CliRunner()
    base = ["train", "-w", str(path), "--llm", small.llm, "--quantization", "fp32"]
    trained_ranker = run.invoke(app, [*base, *TRAINING, "--merge", str(tmp_path / "merged"), "--json"])
    assert trained_ranker.exit_code == 0, trained_ranker.output
    assert json.loads(trained_ranker.output)["ranker"]["examples"] == 24
    assert (tmp_path / "merged" / "model.safetensors").exists()
    card = json.loads((path / "adapter" / "card.json").read_text())
    assert {name: card["settings"][name] for name in ("rank", "alpha", "lr", "blocks", "epochs")} == {
        "rank": 2, "alpha": 4.0, "lr": 0.001, "blocks": None, "epochs": 2,
    }  # fmt: skip
    assert card["pairs"]["examples"] == 20
    again = run.invoke(app, [*base, *TRAINING])
    assert "weight of the LLM" in again.output
    assert "AUC on them: popularity, cosine, the order without LLM, LLM, with LLM" in " ".join(again.output.split())
    graph = run.invoke(app, ["train", "-w", str(path), "graph", "--convolution", "attention"])
    assert graph.exit_code == 0, graph.output
    assert "NDCG@10 of the graph" in graph.output
    for arguments, message in (
        (["everything"], "unknown part 'everything'; choose graph, blend, ranker, llm-weight, explainer, all"),
        (["ranker", "--examples", "-1"], "--examples must be 0 or more, not -1"),
        (["ranker", "--prompt", "9"], "there is no version 9 of the prompt `rank`"),
        (["ranker", "--pairs", "-1"], "--pairs must be 0 or more, not -1"),
        (["blend", "--rank", "4"], "--rank: for the parts ranker and all, not for blend"),
        (["ranker", "--rank", "0"], "invalid value for rank of the fine-tuning: 0"),
        (["ranker", "--lr", "nan"], "invalid value for lr of the fine-tuning: nan"),
        (["ranker", "--blocks", "-1"], "--blocks must be 0 (all) or more, not -1"),
        (["all", "--epochs", "0"], "invalid value for epochs of the fine-tuning: 0"),
        (["graph", "--convolution", "odd"], "--convolution must be normalised or attention, not 'odd'"),
        (["ranker", "--merge", str(tmp_path / "merged")], "is not empty"),
    ):
        rejected = run.invoke(app, [*base, *arguments])
        assert isinstance(rejected.exception, SettingsError)
        assert message in str(rejected.exception)
