"""Two groups side by side on the page for questions: where they differ in what they go on to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .elements import box, button, notice, say, table


def comparison(found: Mapping[str, Any], meaning: Callable[[Mapping[str, Any]], str], download: Callable[[], object]) -> None:
    """Draws an answer with `against`.

    Args: found: as `POST /v1/probe` gives it. meaning: what a name was taken for, in words. download: what the button for the table does.
    """
    one, other = found["cohorts"]
    with box("section", "row-apart"):
        with box("div"):
            say("h2", "The two groups", "hidden")
            for group in (one, other):
                users, of = group["cohort"]["users"], group["cohort"]["of"]
                share = f" ({users / of:.0%})" if of else ""
                say("p", f"{group['question']}: {users:,} of {of:,} shoppers{share}", "cohort", dir="auto")
                with box("div", "chips").style("margin: 4px 0 10px"):
                    for name in group["understood"]:
                        say("span", meaning(name), "chip not" if name.get("not") else "chip told", dir="auto")
        if found["differences"]:
            with box("div", "chips"):
                button("Download CSV", download)
                link = say("button", "Copy link", "button", type="button")
                link.on("click", js_handler="(e) => window.crossaisle.copy(e.currentTarget, location.href)")
    if not found["differences"]:
        with box("div", "blank section"):
            say("strong", "No difference stands out")
            say("p", "Neither group goes on to any category more often than the other, beyond chance.")
        return
    with box("section", "card section"):
        say("h2", "Where they differ")
        say("p", "share of each group that went on to it; times: the first share over the second, with its 95% interval", "soft small")
        rows = [
            [
                " › ".join(each["category"]) or "(no category)",
                f"{each['share'][0]:.0%}",
                f"{each['share'][1]:.0%}",
                f"{times(each['ratio'])} ({times(each['ratio_interval'][0])} to {times(each['ratio_interval'][1])})",
            ]
            for each in found["differences"]
        ]
        heads = ["Category", one["question"], other["question"], "Times (95%)"]
        table("Where the two groups differ", heads, rows, (1, 2, 3))
    for told in [f"{asked['question']}: {note}" for asked in (one, other) for note in asked["notes"]]:
        notice(told, "note").style("margin-top: 14px")
    least = one["privacy"]["min_users"]
    words = f"No figure tells of fewer than {least} shoppers. Who is in both groups counts in both."
    say("p", f"{words} What goes together is not always cause and effect.", "soft small").style("margin-top: 14px")


def times(value: float | None) -> str:
    """A ratio in words; a dash where there is no end to it."""
    return "–" if value is None else f"{value:.1f}"
