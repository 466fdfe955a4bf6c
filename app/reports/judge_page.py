"""`judge.html`: a judgement as one page that needs no network: verdicts on the judges, scores, comparisons and notable disagreements.

All texts are untrusted, including the reasons of the judges: everything is escaped, and the page forbids scripts and external resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ..terminal.evaluation_table import format_interval, format_number
from ..terminal.judge_tables import format_share
from .rendering import ReportTable, isolate, render_template, thousands

MAX_SLICE_VALUES = 40
"""Values of one slice that the page shows; `judge.json` has all."""


def page(report: Mapping[str, Any], path: Path) -> None:
    """Write the page of a report.

    Args:
        report: Content of `judge.json`.
        path: File to write.

    Raises:
        StorageError: The file cannot be written.
    """
    html = render_template("judge.html.j2", report=report, tables=_tables(report))
    with storage_errors(f"the page {path}"):
        write_atomically(path, html.encode("utf-8", "replace"))


def _tables(report: Mapping[str, Any]) -> dict[str, Any]:
    """All tables of the page by name."""
    criteria, comparisons = report["criteria"], report["pairs"]
    return {
        "systems": _systems(report),
        "withheld_systems": _withheld_systems(report),
        "withheld_texts": _withheld_texts(report),
        "scores": _scores(criteria),
        "score_differences": _score_differences(criteria),
        "slices": [table for name, criterion in criteria.items() if (table := _slices(name, criterion)).rows],
        "comparisons": {name: _comparison(comparison) for name, comparison in comparisons.items()},
        "strengths": {name: _strengths(comparison.get("strengths") or ()) for name, comparison in comparisons.items()},
        "repeats": _repeats(report),
        "biases": _biases(report),
        "agreement": _agreement(report),
    }


def _systems(report: Mapping[str, Any]) -> ReportTable:
    counts = ("users", "recommendations", "with_explanation", "with_evidence", "words")
    headings = ["system", "users", "recommendations", "with an explanation", "with evidence", "words per explanation"]
    rows = [[isolate(name), *(thousands(system[count]) for count in counts)] for name, system in report["systems"].items()]
    return ReportTable(headings, rows)


def _withheld_systems(report: Mapping[str, Any]) -> ReportTable:
    systems = report["withheld"]["systems"]
    rows = [[isolate(name), thousands(system["texts"]), thousands(system["speak_to_the_judge"])] for name, system in systems.items()]
    return ReportTable(["system", "texts", "that address the judge"], rows)


def _withheld_texts(report: Mapping[str, Any]) -> ReportTable:
    columns = ["system", "user", "item", "part", "words"]
    rows = [[isolate(case[column]) for column in columns] for case in report["withheld"]["cases"]]
    return ReportTable(columns, rows, text_columns=5)


def _scores(criteria: Mapping[str, Any]) -> ReportTable:
    rows = []
    for name, criterion in criteria.items():
        label = name if criterion["high_is"] == "good" else f"{name} (5: {criterion['high_is']})"
        for system, scores in criterion["systems"].items():
            counts = [thousands(scores[count]) for count in ("scored", "unscored", "by_probabilities")]
            distribution = " · ".join(map(thousands, scores["spread"].values()))
            rows.append([label, isolate(system), format_interval(scores, places=2), *counts, distribution])
    headings = ["criterion", "system", "mean, 1 to 5 (95 %)", "scored", "unscored", "from probabilities", "1 · 2 · 3 · 4 · 5"]
    return ReportTable(headings, rows, text_columns=2)


def _score_differences(criteria: Mapping[str, Any]) -> ReportTable:
    rows = [
        [
            name,
            isolate(difference["system"]) + " minus " + isolate(difference["against"]),
            format_interval(difference, sign=True, places=2),
            format_number(difference["p"]),
            thousands(difference["users"]),
        ]
        for name, criterion in criteria.items()
        for difference in criterion["differences"]
    ]
    return ReportTable(
        ["criterion", "difference", "points (95 %)", "p", "users"], rows, caption="Paired differences by user", text_columns=2
    )


def _slices(name: str, criterion: Mapping[str, Any]) -> ReportTable:
    """Scores by slice; the values of a slice are ordered by their number of scores."""
    rows = [
        [isolate(slice_name), isolate(value), isolate(system), format_interval(scores, places=2), thousands(scores["scored"])]
        for system, of_system in criterion["systems"].items()
        for slice_name, values in of_system["slices"].items()
        for value, scores in sorted(values.items(), key=lambda entry: -entry[1]["scored"])[:MAX_SLICE_VALUES]
    ]
    return ReportTable(["slice", "value", "system", "mean (95 %)", "scored"], rows, caption=name, text_columns=3)


def _comparison(comparison: Mapping[str, Any]) -> ReportTable:
    headings = [
        "system", "against", "pairs", "won", "tied", "lost", "unscored", "flips", "win rate (95 %)", "at equal length",
        "smallest difference",
    ]  # fmt: skip
    rows = [
        [
            isolate(pair["system"]),
            isolate(pair["against"]),
            *(thousands(pair[count]) for count in ("pairs", "wins", "ties", "losses", "unscored")),
            f"{pair['flips']:,} ({format_share(pair['flip_rate'])})",
            format_interval(pair["win_rate"], places=2),
            format_interval(pair["win_rate_at_equal_length"], places=2),
            format_number(pair["smallest_detectable_difference"], places=2),
        ]
        for pair in comparison["matrix"]
    ]
    return ReportTable(headings, rows, text_columns=2)


def _strengths(strengths: Any) -> ReportTable:
    rows = [
        [isolate(entry["system"]), format_interval(entry["strength"], sign=True, places=2), f"{entry['wins']:g}", thousands(entry["pairs"])]
        for entry in strengths
    ]
    return ReportTable(["system", "log odds (95 %)", "wins", "pairs"], rows, caption="Bradley-Terry strengths")


def _repeats(report: Mapping[str, Any]) -> ReportTable:
    rows = [
        [
            isolate(name),
            thousands(repeats["repeated"]),
            thousands(repeats["scored_both_times"]),
            format_interval(repeats["same"], places=2),
            format_number(repeats["apart"], places=2),
        ]
        for name, repeats in report["repeats"].items()
    ]
    return ReportTable(["judge", "judged twice", "scored both times", "same result (95 %)", "mean distance"], rows)


def _biases(report: Mapping[str, Any]) -> ReportTable:
    rows = [
        [
            isolate(name),
            bias["bias"].replace("_", " "),
            bias["meaning"],
            format_interval(bias, places=2),
            thousands(bias["cases"]),
        ]
        for name, biases in report["biases"].items()
        for bias in biases
    ]
    headings = ["judge", "bias", "meaning of 1", "size (95 %)", "cases"]
    return ReportTable(headings, rows, caption="Biases in this run", text_columns=3)


def _agreement(report: Mapping[str, Any]) -> ReportTable:
    rows = [
        [name, thousands(agreement["questions"]), format_interval(agreement["alpha"], places=2)]
        for name, agreement in report["panel"].items()
    ]
    return ReportTable(["criterion", "questions", "Krippendorff's alpha (95 %)"], rows, caption="Agreement of the judges")
