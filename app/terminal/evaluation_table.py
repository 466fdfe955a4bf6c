"""An evaluation as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

KINDS = ("baseline", "channel", "blend", "ablation")


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Prints what was evaluated, and each system with its interval and its difference to the best baseline, by kind and then by NDCG."""
    from rich.table import Table
    from rich.text import Text

    from .render import plain

    k = report["k"]
    split = report["split"]["protocol"]
    console.print(
        f"{report['cases']:,} cases of {report['users']:,} users ({split}, seed {report['split']['seed']}); trained on "
        f"{report['training']['interactions']:,} interactions of {report['training']['users']:,} users"
    )
    for what, count in report["left_out"].items():
        console.print(Text(f"left out: {plain(what)}: {count:,}", style="dim"))
    for name, about in report["baselines"].items():
        if "left_out" in about:
            console.print(Text(f"left out: {name}: {about['left_out']}", style="yellow"))
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("system", overflow="fold")
    for name in ("cases", f"NDCG@{k} (95 %)", f"recall@{k}", "minus the best baseline"):
        table.add_column(name, justify="right", no_wrap=True)
    kind = ""
    for name, about in ordered(report):
        if about["kind"] != kind:
            kind = about["kind"]
            table.add_row(Text(kind, style="dim"))
        best = name == report["best_baseline"]
        table.add_row(
            Text("  " + name, style="bold" if best or kind == "blend" else ""),
            f"{about['cases']:,}",
            interval(about[f"ndcg@{k}"], places=3),
            figure(about[f"recall@{k}"]["value"], places=3),
            "the best" if best else interval(about["vs_best_baseline"], sign=True, places=3),
        )
    console.print(table)
    if held := report["candidate_recall"]:
        console.print(
            "targets among the candidates: "
            + "; ".join(f"{name} " + ", ".join(f"{share:.0%} of {n}" for n, share in held[name].items()) for name in held)
        )
    for level in report.get("novelty", ())[1:]:
        cost = interval(level["minus_none"], sign=True, places=3)
        shown, without = (figure(one["coverage"], places=3) for one in (level, report["novelty"][0]))
        console.print(f"novelty {level['novelty']:g}: NDCG@{k} {cost}, {shown} of the catalogue shown ({without})")
    for way in report.get("new_items", ())[1:]:
        cost, rare = (interval(way[name]["minus_none"], sign=True, places=3) for name in ("all", "at most two users"))
        who = f"at most {way['up_to']} users had" if way["up_to"] else "nobody had"
        console.print(f"{way['places']} of ten places for what {who}: NDCG@10 {cost}, of targets of at most two users {rare}")


def ordered(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The systems by kind, the best of each first."""
    metric = f"ndcg@{report['k']}"
    return sorted(report["systems"].items(), key=lambda pair: (KINDS.index(pair[1]["kind"]), -(pair[1][metric]["value"] or 0)))


def figure(value: float | None, *, sign: bool = False, places: int = 4) -> str:
    """A share with some places, `-` for what cannot be told."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.{places}f}"


def interval(about: Mapping[str, Any], *, sign: bool = False, places: int = 4) -> str:
    """A value and its interval."""
    value, low, high = (figure(about[name], sign=sign, places=places) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
