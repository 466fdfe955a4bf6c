"""Terminal output of LLM judging: the verdict on the judge first, then scores, pairs and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .evaluation_table import format_interval, format_number

if TYPE_CHECKING:
    from rich.console import Console


def print_judging(console: Console, report: Mapping[str, Any]) -> None:
    """Print the main results of judging.

    Args:
        console: Where to print.
        report: Content of `judge.json`.
    """
    from rich.text import Text

    from .render import printable

    for name, verdict in report["verdict"].items():
        console.print(Text(f"{printable(name)}: {verdict['verdict']}", style="bold"))
        console.print(Text(printable(verdict["sentence"])))
    for name, withheld in report["withheld"]["systems"].items():
        if withheld["speak_to_the_judge"]:
            counts = f"{withheld['speak_to_the_judge']:,} of {withheld['texts']:,} texts address the judge; those words were withheld"
            console.print(Text(f"{printable(name)}: {counts}", style="yellow"))
    _print_scores(console, report)
    for name, pairs in report["pairs"].items():
        _print_pairs(console, name, pairs)
    for name, agreement in report["panel"].items():
        console.print(
            f"agreement of the judges on {name} (alpha): {format_interval(agreement['alpha'], places=2)}, "
            f"{agreement['questions']} questions"
        )
    for name, judge in report["judges"].items():
        console.print(Text(f"{printable(name)}: {format_run(judge['run'])}", style="dim"))
        if name in report["audit"]:
            console.print(Text(f"  the audit: {format_run(report['audit'][name])}", style="dim"))
        for bias in report["biases"][name]:
            console.print(
                Text(f"  {bias['bias'].replace('_', ' ')} {format_interval(bias, sign=True, places=2)}: {bias['meaning']}", style="dim")
            )
        repeats = report["repeats"][name]
        if repeats["scored_both_times"]:
            console.print(
                Text(
                    f"  repeated questions: {repeats['scored_both_times']:,}; same answer: {format_share(repeats['same']['value'])}",
                    style="dim",
                )
            )
        for cause in judge["run"]["causes"]:
            console.print(Text(f"  {printable(cause)}", style="yellow"))
        if judge["run"]["too_long"]:
            console.print(Text(f"  too long for its context: {printable('; '.join(judge['run']['too_long'][:3]))}", style="yellow"))
    for preference in report["own"]:
        console.print(Text(printable(preference["sentence"])))
    _print_missing(console, report)


def print_calibration(console: Console, calibration: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Print the agreement of a judge with people on each task, its biases, and the verdict.

    Args:
        console: Where to print.
        calibration: Content of `calibration.json`.
        run: Counts and costs of the run.
    """
    from rich.table import Table
    from rich.text import Text

    from .render import printable

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("task")
    for name in ("questions", "answered", "kappa with people (95 %)", "kappa among people", "accuracy", "most frequent answer"):
        table.add_column(name, justify="right", no_wrap=True)
    for task in calibration["tasks"]:
        judge, people = task["judge"], task["people"]
        table.add_row(
            task["task"],
            f"{task['units']:,}",
            format_share(judge["answered"]),
            format_interval(judge["majority"], places=2),
            format_interval(people["pairwise"], places=2) if people else "-",
            format_number(judge["accuracy"]["value"], places=2),
            format_number(task["constant_accuracy"], places=2),
        )
    console.print(table)
    for bias in calibration["biases"]:
        console.print(f"{bias['bias']}: {format_interval(bias, places=2)} ({bias['meaning']})")
    console.print(Text(printable(calibration["verdict"]["sentence"]), style="bold"))
    console.print(Text(format_run(run), style="dim"))


def print_dry_run(console: Console, estimate: Mapping[str, Any], limit: float | None) -> None:
    """Print the number of calls and tokens and the highest cost of a judging run.

    Args:
        console: Where to print.
        estimate: JSON of the dry run.
        limit: Spend limit, to compare the cost with.
    """
    from rich.text import Text

    from .render import printable

    for name, judge in estimate["judges"].items():
        console.print(Text(printable(name), style="bold"))
        console.print(
            f"  {judge['questions']:,} questions, {judge['different_questions_and_repetitions']:,} distinct ones including repetitions; "
            f"{judge['kept']:,} cached replies, {judge['calls']:,} calls to make"
        )
        console.print(
            f"  {judge['prompt_tokens']:,} prompt tokens ({judge['prompt_tokens_are']}), at most "
            f"{judge['completion_tokens_at_most']:,} completion tokens; cost at most {judge['cost_at_most']:,.4f}"
        )
    console.print(f"total: {estimate['calls']:,} calls, cost at most {estimate['cost_at_most']:,.4f}; no call was made")
    if limit is not None and estimate["cost_at_most"] > limit:
        console.print(f"the run may stop early at the spend limit of {limit:g}")
    _print_missing(console, estimate)


def format_run(run: Mapping[str, Any]) -> str:
    """Counts, tokens, cost and time of a run in one line."""
    estimated = " (some estimated)" if run["estimated"] else ""
    unscored = ", ".join(f"{count:,} {cause}" for cause, count in run["unscored"].items())
    parts = [
        f"{run['scored']:,} of {run['questions']:,} scored",
        *([f"unscored: {unscored}"] if unscored else []),
        *([f"{run['not_asked']:,} not judged"] if run["not_asked"] else []),
        f"{run['calls']:,} calls and {run['kept']:,} cached replies",
        f"{run['prompt_tokens']:,} prompt and {run['completion_tokens']:,} completion tokens{estimated}",
        f"cost {run['cost']:,.4f}, of this run {run['spent']:,.4f}",
        f"{run['seconds']:,.1f} s",
    ]
    return "; ".join(parts) + (f". Stopped early: {run['stopped']}" if run["stopped"] else "")


def format_share(value: float | None) -> str:
    """A share in per cent; `-` for None."""
    return "-" if value is None else f"{value:.0%}"


def _print_missing(console: Console, report: Mapping[str, Any]) -> None:
    """Print the criteria that could not be judged because the lists lack something."""
    from rich.text import Text

    for missing in report["not_asked"]:
        message = f"not judged: {missing['criterion']}, {missing['times']:,} times, because of missing {missing['without']}"
        console.print(Text(message, style="dim"))


def _print_scores(console: Console, report: Mapping[str, Any]) -> None:
    """Print the mean score of each system by criterion, and the differences between systems."""
    from rich.table import Table
    from rich.text import Text

    from .render import printable

    if not report["criteria"]:
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("criterion, 1 to 5")
    table.add_column("system", overflow="fold")
    for name in ("mean (95 %)", "scored", "unscored"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, criterion in report["criteria"].items():
        label = name if criterion["high_is"] == "good" else f"{name} (5: {criterion['high_is']})"
        for system, mean in criterion["systems"].items():
            table.add_row(label, Text(printable(system)), format_interval(mean, places=2), f"{mean['scored']:,}", f"{mean['unscored']:,}")
    console.print(table)
    for name, criterion in report["criteria"].items():
        for difference in criterion["differences"]:
            systems = f"{printable(difference['system'])} minus {printable(difference['against'])}"
            estimate = f"{format_interval(difference, sign=True, places=2)}, p {format_number(difference['p'])}"
            console.print(Text(f"{name}: {systems}: {estimate}, {difference['users']:,} users"))


def _print_pairs(console: Console, name: str, pairs: Mapping[str, Any]) -> None:
    """Print the pairwise preferences between systems, and the strengths fitted to them."""
    from rich.text import Text

    from .render import printable

    for pair in pairs["matrix"]:
        console.print(Text(f"{name}: {printable(pair['system'])} against {printable(pair['against'])}", style="bold"))
        console.print(
            f"  {pair['pairs']:,} pairs of {pair['users']:,} users: {pair['wins']:,} won, {pair['ties']:,} tied, {pair['losses']:,} lost, "
            f"{pair['unscored']:,} unscored; {pair['flips']:,} flips with the order"
        )
        at_equal_length = format_interval(pair["win_rate_at_equal_length"], places=2)
        console.print(f"  win rate {format_interval(pair['win_rate'], places=2)}; at equal length {at_equal_length}")
        for sentence in pair["conclusions"]:
            console.print(Text(f"  {printable(sentence)}"))
    for fit in pairs.get("strengths", ()):
        strength = format_interval(fit["strength"], sign=True, places=2)
        console.print(Text(f"  {printable(fit['system'])}: strength {strength} (log odds)"))
