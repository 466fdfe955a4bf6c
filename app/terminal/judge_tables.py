"""A judging as tables in the terminal: the verdict on the judge first, then scores and pairs, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .evaluation_table import figure, interval

if TYPE_CHECKING:
    from rich.console import Console


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Prints what `judge.json` says first of all."""
    from rich.text import Text

    from .render import plain

    for name, about in report["verdict"].items():
        console.print(Text(f"{plain(name)}: {about['verdict']}", style="bold"))
        console.print(Text(plain(about["sentence"])))
    for name, about in report["withheld"]["systems"].items():
        if about["speak_to_the_judge"]:
            told = f"{about['speak_to_the_judge']:,} of {about['texts']:,} texts speak to the judge; those words were withheld from it"
            console.print(Text(f"{plain(name)}: {told}", style="yellow"))
    _scores(console, report)
    for name, about in report["pairs"].items():
        _pairs(console, name, about)
    for name, about in report["panel"].items():
        console.print(f"agreement of the judges on {name} (alpha): {interval(about['alpha'], places=2)}, {about['questions']} questions")
    for name, about in report["judges"].items():
        console.print(Text(f"{plain(name)}: {took(about['run'])}", style="dim"))
        if name in report["audit"]:
            console.print(Text(f"  the audit: {took(report['audit'][name])}", style="dim"))
        for bias in report["biases"][name]:
            console.print(Text(f"  {bias['bias'].replace('_', ' ')} {interval(bias, sign=True, places=2)}: {bias['meaning']}", style="dim"))
        repeats = report["repeats"][name]
        if repeats["scored_both_times"]:
            console.print(
                Text(f"  asked twice: {repeats['scored_both_times']:,}; the same answer: {share(repeats['same']['value'])}", style="dim")
            )
        for cause in about["run"]["causes"]:
            console.print(Text(f"  {plain(cause)}", style="yellow"))
        if about["run"]["too_long"]:
            console.print(Text(f"  too long for it: {plain('; '.join(about['run']['too_long'][:3]))}", style="yellow"))
    for one in report["own"]:
        console.print(Text(plain(one["sentence"])))
    for one in report["not_asked"]:
        console.print(Text(f"not asked: {one['criterion']}, {one['times']:,} times, for want of {one['without']}", style="dim"))


def show_calibration(console: Console, told: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Prints how a judge did beside people, and the verdict."""
    from rich.table import Table
    from rich.text import Text

    from .render import plain

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("task")
    for name in ("questions", "answered", "kappa with people (95 %)", "people among themselves", "accuracy", "always the commonest"):
        table.add_column(name, justify="right", no_wrap=True)
    for task in told["tasks"]:
        judge, people = task["judge"], task["people"]
        table.add_row(
            task["task"],
            f"{task['units']:,}",
            share(judge["answered"]),
            interval(judge["majority"], places=2),
            interval(people["pairwise"], places=2) if people else "-",
            figure(judge["accuracy"]["value"], places=2),
            figure(task["constant_accuracy"], places=2),
        )
    console.print(table)
    for bias in told["biases"]:
        console.print(f"{bias['bias']}: {interval(bias, places=2)} ({bias['meaning']})")
    console.print(Text(plain(told["verdict"]["sentence"]), style="bold"))
    console.print(Text(took(run), style="dim"))


def show_dry_run(console: Console, found: Mapping[str, Any], limit: float | None) -> None:
    """Prints what a judging would take."""
    from rich.text import Text

    from .render import plain

    for name, about in found["judges"].items():
        console.print(Text(plain(name), style="bold"))
        console.print(
            f"  {about['questions']:,} questions, {about['different_questions_and_repetitions']:,} different ones with repetitions; "
            f"{about['kept']:,} replies are kept, {about['calls']:,} calls to be made"
        )
        console.print(
            f"  {about['prompt_tokens']:,} tokens to be read ({about['prompt_tokens_are']}), at most "
            f"{about['completion_tokens_at_most']:,} written; at most {about['cost_at_most']:,.4f}"
        )
    console.print(f"together: {found['calls']:,} calls, at most {found['cost_at_most']:,.4f}; nothing was asked")
    if limit is not None and found["cost_at_most"] > limit:
        console.print(f"the spend limit of {limit:g} may be reached before all is judged")
    for one in found["not_asked"]:
        console.print(Text(f"not asked: {one['criterion']}, {one['times']:,} times, for want of {one['without']}", style="dim"))


def took(run: Mapping[str, Any]) -> str:
    """What a run took, in one line."""
    unscored = ", ".join(f"{count:,} {cause}" for cause, count in run["unscored"].items())
    parts = [
        f"{run['scored']:,} of {run['questions']:,} scored",
        *([f"unscored: {unscored}"] if unscored else []),
        *([f"{run['not_asked']:,} not asked"] if run["not_asked"] else []),
        f"{run['calls']:,} calls now and {run['kept']:,} replies kept",
        f"{run['prompt_tokens']:,} tokens read and {run['completion_tokens']:,} written{' (some estimated)' if run['estimated'] else ''}",
        f"cost {run['cost']:,.4f}, now {run['spent']:,.4f}",
        f"{run['seconds']:,.1f} s",
    ]
    return "; ".join(parts) + (f". Stopped early: {run['stopped']}" if run["stopped"] else "")


def share(value: float | None) -> str:
    """A share in per cent."""
    return "-" if value is None else f"{value:.0%}"


def _scores(console: Console, report: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from .render import plain

    if not report["criteria"]:
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("criterion, 1 to 5")
    table.add_column("system", overflow="fold")
    for name in ("mean (95 %)", "scored", "unscored"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, about in report["criteria"].items():
        label = name if about["high_is"] == "good" else f"{name} (5: {about['high_is']})"
        for system, told in about["systems"].items():
            table.add_row(label, Text(plain(system)), interval(told, places=2), f"{told['scored']:,}", f"{told['unscored']:,}")
    console.print(table)
    for name, about in report["criteria"].items():
        for one in about["differences"]:
            told = interval(one, sign=True, places=2)
            console.print(
                Text(f"{name}: {plain(one['system'])} minus {plain(one['against'])}: {told}, p {figure(one['p'])}, {one['users']:,} users")
            )


def _pairs(console: Console, name: str, about: Mapping[str, Any]) -> None:
    from rich.text import Text

    from .render import plain

    for one in about["matrix"]:
        console.print(Text(f"{name}: {plain(one['system'])} against {plain(one['against'])}", style="bold"))
        console.print(
            f"  {one['pairs']:,} pairs of {one['users']:,} users: {one['wins']:,} won, {one['ties']:,} tied, {one['losses']:,} lost, "
            f"{one['unscored']:,} unscored; {one['flips']:,} flips with the order"
        )
        console.print(
            f"  win rate {interval(one['win_rate'], places=2)}; at equal length {interval(one['win_rate_at_equal_length'], places=2)}"
        )
        for sentence in one["conclusions"]:
            console.print(Text(f"  {plain(sentence)}"))
    for one in about.get("strengths", ()):
        console.print(Text(f"  {plain(one['system'])}: strength {interval(one['strength'], sign=True, places=2)} (log odds)"))
