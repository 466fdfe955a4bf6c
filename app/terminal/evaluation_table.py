"""Terminal output of an offline evaluation, and the number formats that the HTML reports share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...data.store_words import DEFAULT_WORDS, StoreWords

if TYPE_CHECKING:
    from rich.console import Console

KINDS = ("baseline", "channel", "blend", "ablation")
FEW_VALIDATION_CASES = 50
"""Validation cases below which the table says that tuning on them means little."""
PROTOCOL_DESCRIPTIONS = {
    "users": "Held-out {people}. Targets: their {items} of the category that they entered last (in data without an order: of one sampled "
    "category). History: everything before (in data without an order: their other categories).",
    "whole-category": "Held-out {people} with two or more categories. Targets: all their {items} of one sampled category. "
    "History: everything in their other categories.",
    "leave-one-out": "Targets: each {person}'s last {item}. History: everything before.",
    "temporal": "Targets: {items} of the test period. History: everything before it.",
    "cases": "Cases of a file; its {people} are held out.",
}
"""What the cases of each protocol are, in a sentence or two for the reports; templates for `StoreWords.fill`."""


LEFT_OUT_TEMPLATES = {
    "targets that are near-duplicates of a history item": "targets that are near-duplicates of {an_item} in the history",
    "targets that are near-duplicates of a history item (kept)": "targets that are near-duplicates of {an_item} in the history (kept)",
    "items of the file that are unknown": "{items} of the file that are unknown",
    "users of one category only": "{people} of one category only",
    "users without a history then": "{people} without a history then",
}
"""Reason for leaving out cases in a report to its wording in a store with words of its own."""


def left_out_reason(reason: str, words: StoreWords) -> str:
    """Return why cases are left out, in the store's words."""
    return reason if words == DEFAULT_WORDS or reason not in LEFT_OUT_TEMPLATES else words.fill(LEFT_OUT_TEMPLATES[reason])


def words_of(report: Mapping[str, Any]) -> StoreWords:
    """Return the words of the store that a report is about."""
    return StoreWords.from_dict(report.get("item_noun", DEFAULT_WORDS.item), report.get("store_words", {}))


def print_evaluation(console: Console, report: Mapping[str, Any]) -> None:
    """Print the evaluated cases, and each system with its intervals and its difference to the best baseline, by kind and then by NDCG.

    Args:
        console: Where to print.
        report: Content of `report.json`.
    """
    from rich.table import Table
    from rich.text import Text

    from .render import printable

    k, words = report["k"], words_of(report)
    protocol, seed = report["split"]["protocol"], report["split"]["seed"]
    console.print(
        f"{report['cases']:,} cases of {report['users']:,} {words.people} ({protocol}, seed {seed}); trained on "
        f"{report['training']['interactions']:,} interactions of {report['training']['users']:,} {words.people}"
    )
    if report.get("trained") is False:
        console.print(Text("the blend is not trained on this store: its weights were learned on other stores", style="yellow"))
    if description := PROTOCOL_DESCRIPTIONS.get(protocol):
        console.print(Text(words.fill(description), style="dim"))
    for reason, count in report["left_out"].items():
        console.print(Text(f"left out: {printable(left_out_reason(reason, words))}: {count:,}", style="dim"))
    for name, baseline in report["baselines"].items():
        if "left_out" in baseline:
            console.print(Text(f"left out: {name}: {baseline['left_out']}", style="yellow"))
    counts = [baseline["validation_cases"] for baseline in report["baselines"].values() if "validation_cases" in baseline]
    if counts and min(counts) < FEW_VALIDATION_CASES:
        console.print(
            Text(f"the baselines were tuned on only {min(counts):,} validation cases and may be better than shown", style="yellow")
        )
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("system", overflow="fold")
    for name in ("cases", f"NDCG@{k} (95 %)", f"recall@{k}", "minus the best baseline"):
        table.add_column(name, justify="right", no_wrap=True)
    kind = ""
    for name, system in systems_by_kind(report):
        if system["kind"] != kind:
            kind = system["kind"]
            table.add_row(Text(kind, style="dim"))
        best = name == report["best_baseline"]
        table.add_row(
            Text("  " + name, style="bold" if best or kind == "blend" else ""),
            f"{system['cases']:,}",
            format_interval(system[f"ndcg@{k}"], places=3),
            format_number(system[f"recall@{k}"]["value"], places=3),
            "the best" if best else format_interval(system["vs_best_baseline"], sign=True, places=3),
        )
    console.print(table)
    if recall := report["candidate_recall"]:
        shares = {name: ", ".join(f"{share:.0%} of {n}" for n, share in by_size.items()) for name, by_size in recall.items()}
        console.print("targets among the candidates: " + "; ".join(f"{name} {share}" for name, share in shares.items()))
    if oracle := report.get("oracle"):
        reached, share = format_interval(oracle[f"ndcg@{k}"], places=3), format_interval(oracle["recall"], places=3)
        console.print(
            f"oracle over the blend's candidates ({oracle['candidates']:,.0f} a case, with {share} of the targets): NDCG@{k} {reached}"
        )
    if reading := report.get("llm_depths"):
        ms, tokens = reading["ms_per_case"], reading["tokens_per_case"]
        cost = "cost not measured" if ms is None else f"{ms:,.0f} ms, {tokens:,.0f} tokens a case"
        console.print(f"the LLM beside the blend on {reading['cases']:,} cases ({cost}):")
        for depth, figures in reading["depths"].items():
            gain, smallest = format_interval(figures["gain"], sign=True), figures["smallest_detectable_gain"]
            console.print(f"  reads {depth}: NDCG@{k} {gain}; the smallest gain that would show is {smallest:.4f}")
    for level in report.get("novelty", ())[1:]:
        cost = format_interval(level["minus_none"], sign=True, places=3)
        coverage, baseline_coverage = (format_number(row["coverage"], places=3) for row in (level, report["novelty"][0]))
        console.print(f"novelty {level['novelty']:g}: NDCG@{k} {cost}, {coverage} of the catalogue shown ({baseline_coverage})")
    for quota in report.get("new_items", ())[1:]:
        cost, rare = (format_interval(quota[name]["minus_none"], sign=True, places=3) for name in ("all", "at most two users"))
        items = f"{words.items} with at most {quota['up_to']} {words.people}" if quota["up_to"] else f"{words.items} without {words.people}"
        console.print(f"{quota['places']} of 10 positions for {items}: NDCG@10 {cost}, for targets with at most two {words.people} {rare}")


def systems_by_kind(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The systems by kind, and by NDCG within a kind, best first."""
    metric = f"ndcg@{report['k']}"
    return sorted(report["systems"].items(), key=lambda pair: (KINDS.index(pair[1]["kind"]), -(pair[1][metric]["value"] or 0)))


def format_number(value: float | None, *, sign: bool = False, places: int = 4) -> str:
    """A number with `places` decimals; `-` for None."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.{places}f}"


def format_interval(estimate: Mapping[str, Any], *, sign: bool = False, places: int = 4) -> str:
    """An estimate (`value`, `low`, `high`) as `value [low, high]`."""
    value, low, high = (format_number(estimate[name], sign=sign, places=places) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
