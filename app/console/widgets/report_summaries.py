"""Summaries of an evaluation and of a judgement; `report.html` and `judge.html` have the details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...terminal.evaluation_table import format_interval, format_number, systems_by_kind, words_of
from .elements import container, data_table, text_element

KIND_HEADINGS = {"baseline": "Baselines", "channel": "Channels", "blend": "The blend", "ablation": "The blend without a part"}


def evaluation_summary(report: Mapping[str, Any]) -> None:
    """Draw `report.json`: each system with its interval, by kind, best first."""
    k, best = report["k"], report["best_baseline"]
    metric = f"ndcg@{k}"
    cases = f"{report['cases']:,} cases of {report['users']:,} {words_of(report).users}; {report['split']['protocol']}"
    text_element("p", f"{cases}. NDCG@{k} with its 95% interval; 1 would be perfect.", "soft small")
    systems = systems_by_kind(report)
    maximum = max([system[metric]["high"] or system[metric]["value"] or 0 for _, system in systems], default=1) or 1
    headings = (("system", ""), ("", ""), (f"NDCG@{k}", "number"), (f"recall@{k}", "number"), ("minus the best baseline", "number"))
    with (
        container("div", "scroll", tabindex="0", role="region", aria_label="Evaluation").style("margin-top: 10px"),
        container("table", "data"),
    ):
        text_element("caption", "Systems by kind, best first", "hidden")
        with container("thead"), container("tr"):
            for heading, classes in headings:
                text_element("th", heading, classes, scope="col") if heading else text_element("td", "")
        with container("tbody"):
            kind = ""
            for name, system in systems:
                if system["kind"] != kind:
                    kind = system["kind"]
                    with container("tr"):
                        text_element("th", KIND_HEADINGS.get(kind, kind), "kind", scope="rowgroup", colspan="5")
                difference = "the best" if name == best else format_interval(system["vs_best_baseline"], sign=True, places=3)
                with container("tr"):
                    text_element("th", name, scope="row")
                    with container("td"):
                        _interval_plot(system[metric], maximum)
                    text_element("td", format_interval(system[metric], places=3), "number")
                    text_element("td", format_number(system[f"recall@{k}"]["value"], places=3), "number")
                    text_element("td", difference, "number")


def _interval_plot(estimate: Mapping[str, Any], maximum: float) -> None:
    """A point with its confidence interval on a scale from 0 to `maximum`."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    with container("div", "forest", aria_hidden="true"):
        if low is not None and high is not None:
            container("span", "interval").style(f"left: {100 * low / maximum:.2f}%; width: {100 * (high - low) / maximum:.2f}%")
        if value is not None:
            container("span", "value").style(f"left: {100 * value / maximum:.2f}%")


def judgement_summary(report: Mapping[str, Any]) -> None:
    """Draw `judge.json`: the reliability of each judge, then scores and pairwise results."""
    for name, verdict in report["verdict"].items():
        with container("div").style("margin-top: 8px"):
            text_element("h3", f"{name}: {verdict['verdict']}")
            text_element("p", verdict["sentence"], "soft")
    rows = [
        [
            name if criterion["high_is"] == "good" else f"{name} (5: {criterion['high_is']})",
            system,
            format_interval(scores, places=2),
            f"{scores['scored']:,}",
            f"{scores['unscored']:,}",
        ]
        for name, criterion in report["criteria"].items()
        for system, scores in criterion["systems"].items()
    ]
    if rows:
        data_table("Scores of the judges", ["criterion, 1 to 5", "system", "mean (95%)", "scored", "unscored"], rows, (2, 3, 4))
    for name, criterion in report["pairs"].items():
        for pair in criterion["matrix"]:
            counts = f"{pair['wins']:,} won, {pair['ties']:,} tied, {pair['losses']:,} lost"
            result = f"{counts}; win rate {format_interval(pair['win_rate'], places=2)}"
            text_element("p", f"{name}: {pair['system']} against {pair['against']}: {result}", "small").style("margin-top: 8px")
