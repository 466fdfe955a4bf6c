"""`report.html`: an evaluation as one page that needs no network: tables, figures, and the cases with the largest losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ..terminal.evaluation_table import PROTOCOL_DESCRIPTIONS, format_interval, format_number, left_out_reason, systems_by_kind, words_of
from .rendering import ReportTable, render_template, trusted_markup

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

KIND_COLORS = {"baseline": "#0072B2", "channel": "#E69F00", "blend": "#D55E00", "ablation": "#999999"}
"""Colours of the palette of Okabe and Ito, which are distinguishable with colour vision deficiencies."""


def page(report: Mapping[str, Any], path: Path) -> None:
    """Write the page of a report.

    Args:
        report: Content of `report.json`.
        path: File to write.

    Raises:
        StorageError: The file cannot be written.
    """
    words = words_of(report)
    html = render_template(
        "evaluation.html.j2",
        report=report,
        protocol=words.fill(PROTOCOL_DESCRIPTIONS.get(report["split"]["protocol"], "")),
        words=words,
        left_out={left_out_reason(reason, words): count for reason, count in report["left_out"].items()},
        systems=systems_by_kind(report),
        missing_baselines=[(name, baseline["left_out"]) for name, baseline in report["baselines"].items() if "left_out" in baseline],
        tables=_tables(report),
        figures={
            "differences": _svg(lambda axes: _plot_differences(axes, report), 8.5, 0.32 * len(report["systems"]) + 1),
            "history_lengths": _svg(lambda axes: _plot_history_lengths(axes, report), 8.5, 4),
            "coverage": _svg(lambda axes: _plot_coverage(axes, report), 8.5, 5),
        },
    )
    with storage_errors(f"the report {path}"):
        write_atomically(path, html.encode())


def _tables(report: Mapping[str, Any]) -> dict[str, ReportTable]:
    """The tables of the page by name; those of the product's own systems only if the report has them."""
    tables = {"beyond_accuracy": _beyond_accuracy(report)}
    if report["candidate_recall"]:
        tables["candidate_recall"] = _candidate_recall(report)
    if report.get("novelty"):
        tables["novelty"] = _novelty(report)
    if report.get("new_items"):
        tables["new_items"] = _new_items(report)
    return tables


def _candidate_recall(report: Mapping[str, Any]) -> ReportTable:
    recall = report["candidate_recall"]
    depths = list(next(iter(recall.values())))
    rows = [[name, *(format_number(shares[depth]) for depth in depths)] for name, shares in recall.items()]
    return ReportTable(["channel", *(f"first {depth}" for depth in depths)], rows)


def _novelty(report: Mapping[str, Any]) -> ReportTable:
    metric, words = f"ndcg@{report['k']}", words_of(report)
    rows = [
        [
            f"{level['novelty']:g}",
            format_interval(level[metric]),
            format_interval(level["minus_none"], sign=True),
            format_number(level["coverage"]),
            f"{level['average_popularity']:,.1f}",
        ]
        for level in report["novelty"]
    ]
    return ReportTable(["novelty", metric.upper(), "minus novelty 0", "coverage", words.fill("average {people} per shown {item}")], rows)


def _new_items(report: Mapping[str, Any]) -> ReportTable:
    """NDCG by number of slots reserved for new items, for all targets and for rare targets."""
    quotas, words = report["new_items"], words_of(report)
    groups = [name for name in quotas[0] if name not in ("places", "up_to")]
    rows = []
    for quota in quotas:
        cells = [str(quota["places"]), str(quota["up_to"]) if quota["places"] else ""]
        for name in groups:
            cells += [format_interval(quota[name]["ndcg@10"]), format_interval(quota[name]["minus_none"], sign=True)]
        rows.append(cells)
    headings = [text for name in groups for text in (f"NDCG@10, {name} ({quotas[0][name]['cases']:,} cases)", "minus no slots")]
    return ReportTable(["reserved slots", words.fill("maximum {people} of a new {item}"), *headings], rows)


def _beyond_accuracy(report: Mapping[str, Any]) -> ReportTable:
    metrics = list(next(iter(report["systems"].values()))["beyond"])
    rows = [[name, *(format_number(system["beyond"][metric]) for metric in metrics)] for name, system in systems_by_kind(report)]
    return ReportTable(["system", *(metric.replace("_", " ") for metric in metrics)], rows)


def _svg(draw: Callable[[Axes], None], width: float, height: float) -> Markup:
    """A figure as inline SVG, without pyplot, whose state all threads share."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return trusted_markup(svg[svg.index("<svg") :])


def _plot_differences(axes: Axes, report: Mapping[str, Any]) -> None:
    """Forest plot of the differences to the best baseline."""
    systems = [(name, system) for name, system in reversed(systems_by_kind(report)) if name != report["best_baseline"]]
    for y, (_, system) in enumerate(systems):
        difference, color = system["vs_best_baseline"], KIND_COLORS[system["kind"]]
        if difference["low"] is not None:
            axes.plot([difference["low"], difference["high"]], [y, y], color=color, linewidth=2)
        axes.plot(difference["value"], y, "o", color=color)
    axes.axvline(0, color="#1a1a1a", linewidth=1)
    axes.set_yticks(range(len(systems)), [_escape_math(name) for name, _ in systems])
    axes.set_xlabel(f"NDCG@{report['k']} minus that of {_escape_math(report['best_baseline'])}")


def _plot_history_lengths(axes: Axes, report: Mapping[str, Any]) -> None:
    """NDCG with confidence intervals by length of the history."""
    names = [report["best_baseline"], *(name for name, system in report["systems"].items() if system["kind"] in ("channel", "blend"))]
    for index, name in enumerate(names):
        estimates = report["systems"][name]["slices"]["history_length"].values()
        x = [position + 0.08 * (index - len(names) / 2) for position in range(len(estimates))]
        y = [estimate["value"] if estimate["value"] is not None else float("nan") for estimate in estimates]
        low = [estimate["low"] if estimate["low"] is not None else value for estimate, value in zip(estimates, y, strict=True)]
        high = [estimate["high"] if estimate["high"] is not None else value for estimate, value in zip(estimates, y, strict=True)]
        errors = [[max(v - a, 0) for v, a in zip(y, low, strict=True)], [max(b - v, 0) for v, b in zip(y, high, strict=True)]]
        axes.errorbar(x, y, yerr=errors, marker="os^Dvp*"[index % 7], linestyle="none", label=_escape_math(name), capsize=2)
    slices = report["systems"][report["best_baseline"]]["slices"]["history_length"]
    axes.set_xticks(
        range(len(slices)), [f"{length} {words_of(report).items}\n{estimate['cases']:,} cases" for length, estimate in slices.items()]
    )
    axes.set_ylabel(f"NDCG@{report['k']}")
    axes.legend(frameon=False, fontsize="small")


def _plot_coverage(axes: Axes, report: Mapping[str, Any]) -> None:
    """NDCG against catalogue coverage."""
    metric = f"ndcg@{report['k']}"
    for index, (name, system) in enumerate(systems_by_kind(report)):
        x, y = system["beyond"]["coverage"], system[metric]["value"]
        # Coverage grows with the number of lists, so systems that were evaluated on a part of the cases are not comparable.
        if system["kind"] == "ablation" or system["cases"] != report["cases"] or x is None or y is None:
            continue
        axes.plot(x, y, "o", color=KIND_COLORS[system["kind"]])
        axes.annotate(_escape_math(name), (x, y), xytext=(4, 4 if index % 2 else -10), textcoords="offset points", fontsize="small")
    axes.set_xlabel(f"catalogue coverage: share of {words_of(report).items} in somebody's top {report['k']}")
    axes.set_ylabel(f"NDCG@{report['k']}")


def _escape_math(text: str) -> str:
    r"""Escape dollar signs in a label, which matplotlib parses as mathematics."""
    return text.replace("$", r"\$")
