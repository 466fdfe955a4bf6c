"""The main figures of a training, labelled for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.store_words import DEFAULT_WORDS, StoreWords, with_indefinite_article

_KIND = "NDCG@10 on questions of kind {} (validation): the blend, its best channel, a blend of this kind alone"
_SHRUNK_TO = {"best channel": "the best channel alone", "prior": "the weights learned on other stores"}


def training_summary(cards: Mapping[str, Any], words: StoreWords = DEFAULT_WORDS) -> dict[str, Any]:
    """Return the main figures of the trained models by label.

    Args:
        cards: Metrics of `train.pipeline.train_workspace`.
        words: The store's words.
    """
    summary: dict[str, Any] = {}
    if blend := cards.get("blend"):
        summary |= {
            "training queries": blend["questions"],
            "with a target among the candidates": blend["answered"],
            "NDCG@10 of the weighted sum (validation)": blend.get("weighted_sum_ndcg@10", "not measured: too few queries"),
            "NDCG@10 with trees (validation)": blend.get("trees_ndcg@10", "not measured: too few queries"),
            "chosen": f"{blend['chosen']}, shrunk to {_SHRUNK_TO[blend['shrunk_to']]} with penalty {blend['penalty']:g}",
        }
        summary |= {_KIND.format(kind): _kind_figures(figures) for kind, figures in blend.get("kinds", {}).items()}
    elif graph := cards.get("graph"):
        summary["NDCG@10 of the graph (validation)"] = graph["figures"]["ndcg@10"]
    for name, label in (("factors", "factors"), ("item_regression", f"{words.item} regression")):
        if channel := cards.get(name):
            tried = ", ".join(f"{trial['penalty']:g}: {trial['ndcg@10']}" for trial in channel["tried"])
            summary[f"penalty of the {label}, and NDCG@10 by penalty (validation)"] = f"{channel['penalty']:g}; {tried or 'none'}"
    if ranker := cards.get("ranker"):
        summary |= {
            "training pairs of the LLM, then lists": f"{ranker['pairs']}, {ranker['examples']}",
            "NDCG@10 of the served candidates (validation): the blend, and with the LLM": (
                f"{ranker['zero_shot_ndcg@10']} {ranker['ndcg@10']}"
            ),
        }
    if teacher := cards.get("ranker", {}).get("teacher"):
        summary |= _teacher_summary(teacher, cards["ranker"]["text_heads"])
    if weight := cards.get("llm_weight") or cards.get("ranker", {}).get("llm_weight"):
        summary |= _weight_summary(weight, words)
    if texts := cards.get("text_weight") or cards.get("ranker", {}).get("text_weight"):
        summary |= _text_weight_summary(texts, words)
    if explainer := cards.get("explainer"):
        summary |= {
            "training examples of the explainer": explainer["examples"],
            "token probability of explanations for a held-out category, before and after": (
                f"{explainer['zero_shot_token_chance']} {explainer['token_chance']}"
            ),
        }
    return summary | {"left out": cards["left_out"], "seconds": cards["seconds"]}


def _teacher_summary(teacher: Mapping[str, Any], heads: Mapping[str, Any]) -> dict[str, Any]:
    """What a teacher was asked, and what became of its answers."""
    return {
        f"questions to the teacher {teacher['model']}": (
            f"{teacher['questions']}, {teacher['answered']} answered in both orders; {teacher['requests']} requests, "
            f"{teacher['from_cache']} answers from the cache" + (f"; stopped: {teacher['stopped']}" if teacher["stopped"] else "")
        ),
        "kept pairs and lists of the teacher; dropped: disagreement between the orders, one grade for all, unreadable": (
            f"{teacher['kept_pairs']}, {teacher['kept_lists']}; {teacher['dropped_for_disagreement']}, {teacher['dropped_all_alike']}, "
            f"{teacher['unreadable']}"
        ),
        "text heads, examples and those of the teacher": (
            f"not trained: {heads['left_out']}" if "left_out" in heads else f"{heads['examples']}, {heads['taught_pairs']}"
        ),
    }


def _kind_figures(figures: Mapping[str, Any]) -> str:
    """The figures of one kind of question, in the order that `_KIND` names them."""
    channel, specialist = figures.get("best_channel"), figures["specialist_ndcg@10"]
    best = f"{channel} {figures['best_channel_ndcg@10']}" if channel else "none"
    return f"{figures['blend_ndcg@10']}; {best}; {'none' if specialist is None else specialist}"


def _purchase(words: StoreWords) -> str:
    """What a held-out interaction is called: `a purchase`, `a taken course`."""
    return "a purchase" if words.verb is None else with_indefinite_article(f"{words.participle} {words.item}")


def _feature_label(name: str, words: StoreWords) -> str:
    return words.fill("rarely {participle} {item}") if name == "rarely bought item" else name


def _weight_summary(weight: Mapping[str, Any], words: StoreWords) -> dict[str, Any]:
    """The main figures of a measured weight of the LLM."""
    if "left_out" in weight:
        return {"weight of the LLM": f"not measured: {weight['left_out']}"}
    gain, figures, parts = weight["gain"], weight["ndcg@10"], weight["weight"]
    by_feature = ", ".join(f"{part:g} for {_feature_label(name, words)}" for name, part in parts["by_feature"].items() if part)
    used = "counts in answers" if gain["low"] > 0 else "does not count in answers, unless --llm-policy is always"
    return {
        f"questions that the LLM read, of those with {_purchase(words)} in reach": f"{weight['questions']} of {weight['informative']}",
        "NDCG@10 on them: the blend, with the LLM, the LLM alone, an oracle": " ".join(str(value) for value in figures.values()),
        "gain of the LLM (95 %), and the smallest that would show": (
            f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}], {weight['smallest_detectable_gain']:.4f}; it {used}"
        ),
        "weight of the LLM": f"{parts['weight']:g}" + (f", and {by_feature}" if by_feature else ""),
        "cost of a question": f"{weight['ms_per_question']} ms, {weight['tokens_per_question']:,} tokens",
    }


def _text_weight_summary(texts: Mapping[str, Any], words: StoreWords) -> dict[str, Any]:
    """The main figures of a measured weight of the LLM for texts."""
    if "left_out" in texts:
        return {"weight of the LLM for texts": f"not measured: {texts['left_out']}"}
    gain, auc = texts["gain"], texts["auc"]
    used = "counts in answers" if gain["low"] > 0 and texts["weight"] else "does not count in answers, unless --llm-policy is always"
    return {
        f"pairs that the LLM read, for texts about {words.items} and categories that it was not trained on": texts["pairs"],
        "AUC on them: popularity, cosine, the order without LLM, LLM, with LLM": (
            f"{auc['popularity']} {auc['cosine']} {auc['without LLM']} {auc['LLM']} {auc['with LLM']}"
        ),
        "gain in AUC of the LLM for texts (95 %), and the smallest that would show": (
            f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}], {texts['smallest_detectable_gain']:.3f}; it {used}"
        ),
        "weight of the LLM for texts": f"{texts['weight']:g}, beside {texts['cosine_weight']:g} of the cosine",
    }
