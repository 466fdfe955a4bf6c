"""An evaluation and a judging as the console shows them; the files that they read have pages of their own with all there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...terminal.evaluation_table import format_interval, format_number, systems_by_kind
from .elements import box, say, table

KINDS = {"baseline": "Baselines", "channel": "Channels", "blend": "The blend", "ablation": "The blend without a part"}


def evaluation(report: Mapping[str, Any]) -> None:
    """Draws what `report.json` holds: every system with its interval, by kind, the best first."""
    k, best = report["k"], report["best_baseline"]
    name = f"ndcg@{k}"
    cases = f"{report['cases']:,} cases of {report['users']:,} shoppers; {report['split']['protocol']}"
    say("p", f"{cases}. NDCG@{k} with its 95% interval; 1 would be perfect.", "soft small")
    systems = systems_by_kind(report)
    most = max([about[name]["high"] or about[name]["value"] or 0 for _, about in systems], default=1) or 1
    with box("div", "scroll", tabindex="0", role="region", aria_label="Evaluation").style("margin-top: 10px"), box("table", "figures"):
        say("caption", "Systems by kind, the best first", "hidden")
        with box("thead"), box("tr"):
            for head, classes in (
                ("system", ""),
                ("", ""),
                (f"NDCG@{k}", "number"),
                (f"recall@{k}", "number"),
                ("minus the best baseline", "number"),
            ):
                say("th", head, classes, scope="col") if head else say("td", "")
        with box("tbody"):
            kind = ""
            for system, about in systems:
                if about["kind"] != kind:
                    kind = about["kind"]
                    with box("tr"):
                        say("th", KINDS.get(kind, kind), "kind", scope="rowgroup", colspan="5")
                with box("tr"):
                    say("th", system, scope="row")
                    with box("td"):
                        _forest(about[name], most)
                    say("td", format_interval(about[name], places=3), "number")
                    say("td", format_number(about[f"recall@{k}"]["value"], places=3), "number")
                    say("td", "the best" if system == best else format_interval(about["vs_best_baseline"], sign=True, places=3), "number")


def _forest(told: Mapping[str, Any], most: float) -> None:
    value, low, high = (told[name] for name in ("value", "low", "high"))
    with box("div", "forest", aria_hidden="true"):
        if low is not None and high is not None:
            box("span", "between").style(f"left: {100 * low / most:.2f}%; width: {100 * (high - low) / most:.2f}%")
        if value is not None:
            box("span", "value").style(f"left: {100 * value / most:.2f}%")


def judges(report: Mapping[str, Any]) -> None:
    """Draws what `judge.json` holds: how far the judges are to be believed, then what they said."""
    for judge, about in report["verdict"].items():
        with box("div").style("margin-top: 8px"):
            say("h3", f"{judge}: {about['verdict']}")
            say("p", about["sentence"], "soft")
    rows = [
        [
            name if about["high_is"] == "good" else f"{name} (5: {about['high_is']})",
            system,
            format_interval(told, places=2),
            f"{told['scored']:,}",
            f"{told['unscored']:,}",
        ]
        for name, about in report["criteria"].items()
        for system, told in about["systems"].items()
    ]
    if rows:
        table("Scores of the judges", ["criterion, 1 to 5", "system", "mean (95%)", "scored", "unscored"], rows, numbers=(2, 3, 4))
    for criterion, about in report["pairs"].items():
        for one in about["matrix"]:
            told = f"{one['wins']:,} won, {one['ties']:,} tied, {one['losses']:,} lost; win rate {format_interval(one['win_rate'], places=2)}"
            say("p", f"{criterion}: {one['system']} against {one['against']}: {told}", "small").style("margin-top: 8px")
