"""Tables of what the LLM adds to the blend and to the cosine, from the result files of benchmarks/."""

# ruff: noqa: E501  # rows of tables

from __future__ import annotations

from benchmark_cells import fill, table, values
from benchmark_figures import RESULTS, figure
from benchmark_quality import SHORT

SLICES = ("all", "purchases of at most two users", "histories of at most three items")


def llm_blocks() -> list[str]:
    """The paragraphs and tables whose result files exist."""
    return [*_ablation_blocks(), *_demo_blocks()]


def _ablation_blocks() -> list[str]:
    names = sorted(path.stem for path in RESULTS.glob("ranker-ablation-*.json"))
    rows = []
    for name in names:
        store = _store(name)
        for variant, trainings in figure(name, "variants").items():
            for count in trainings:
                at = f"variants/{variant}/{count}"
                cells = (f"[[{at}/questions; ,d]] ([[{at}/examples; ,d]])", *_gains(name, at), f"[[{at}/ndcg@10/LLM alone; .4f]]")
                rows.append([store, variant, *values(name, *cells), f"`{name}.json`"])
                store = ""
    if not rows:
        return []
    header = (
        "Store",
        "The LLM reads",
        "Training questions (examples)",
        "Gain: all",
        "Gain: purchases of at most two users",
        "Gain: histories of at most three items",
        "LLM alone",
        "File",
    )
    reach = "; ".join(
        f"{SHORT.get(name.removeprefix('ranker-ablation-'), name)}: "
        + fill(
            "blend [[blend; .4f]], oracle [[oracle; .4f]], [[read; ,d]] questions",
            name,
        )
        for name in names
    )
    return [
        "What the LLM learns on what the blend misses: NDCG@10 of the sum minus that of the blend, on out-of-fold questions of users that the adapter was not trained on, "
        "with weights fitted to other users (`python benchmarks/ranker_ablation.py STORE`). `alone`: trained without the blend's scores in the loss.",
        table(header, rows),
        f"What an order of the same 20 candidates could reach: {reach}.",
    ]  # fmt: skip


def _store(name: str) -> str:
    store = name.removeprefix("ranker-ablation-")
    return SHORT.get(store, store)


def _gains(name: str, at: str) -> list[str]:
    measured = [figure(name, f"{at}/{part}/gain") is not None for part in SLICES]
    return [
        f"[[{at}/{part}/gain; ci:+.4f]] ([[{at}/{part}/questions; ,d]])" if is_measured else "too few"
        for part, is_measured in zip(SLICES, measured, strict=True)
    ]


def _demo_blocks() -> list[str]:
    if not (RESULTS / "demo-adapter.json").exists():
        return []
    name = "demo-adapter"
    texts = (
        "The demo store's adapter, trained on [[training/examples; ,d]] questions about pairs of further simulated shoppers (`python benchmarks/demo_adapter.py`). Text queries, on [[text_weight/pairs; d]] pairs "
        "whose items and categories are in no training pair: AUC of the cosine [[text_weight/auc/cosine; .3f]], of the LLM [[text_weight/auc/LLM; .3f]], of the order without the LLM [[text_weight/auc/without LLM; .3f]], with it [[text_weight/auc/with LLM; .3f]], "
        "gain [[text_weight/gain; ci:+.3f]]. Beside the blend, on [[llm_weight/questions; ,d]] out-of-fold questions: NDCG@10 [[llm_weight/ndcg@10/blend; .4f]], with the LLM "
        "[[llm_weight/ndcg@10/with the LLM; .4f]], gain [[llm_weight/gain; ci:+.4f]]."
    )
    rows = [
        [length, *values(name, f"[[by_history_length/{length}/questions; ,d]]", f"[[by_history_length/{length}/blend; .4f]]", f"[[by_history_length/{length}/gain; ci:+.4f]]")]
        for length in figure(name, "by_history_length")
    ]  # fmt: skip
    return [fill(texts, name), table(("History", "Questions", "Blend", "Gain of the LLM"), rows)]
