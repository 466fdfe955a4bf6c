"""Comparison of two groups on the probe page: the categories in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....data.store_words import DEFAULT_WORDS, StoreWords
from .elements import button, container, copy_link_button, data_table, notice, text_element


def comparison_table(
    comparison: Mapping[str, Any],
    describe_meaning: Callable[[Mapping[str, Any]], str],
    download: Callable[[], object],
    words: StoreWords = DEFAULT_WORDS,
) -> None:
    """Draw the result of a question with `against`.

    Args:
        comparison: Response of `POST /v1/probe`.
        describe_meaning: Returns the text for one interpretation in `understood`.
        download: Called by the button for the CSV file.
        words: The store's words.
    """
    first, second = comparison["cohorts"]
    with container("section", "row-spread"):
        with container("div"):
            text_element("h2", "The two groups", "hidden")
            for group in (first, second):
                users, total = group["cohort"]["users"], group["cohort"]["of"]
                share = f" ({users / total:.0%})" if total else ""
                text_element("p", f"{group['question']}: {users:,} of {total:,} {words.users}{share}", "cohort", dir="auto")
                with container("div", "chips").style("margin: 4px 0 10px"):
                    for meaning in group["understood"]:
                        text_element(
                            "span", describe_meaning(meaning), "chip negated" if meaning.get("not") else "chip selected", dir="auto"
                        )
        if comparison["differences"]:
            with container("div", "chips"):
                button("Download CSV", download)
                copy_link_button()
    if not comparison["differences"]:
        with container("div", "empty section"):
            text_element("strong", "No difference stands out")
            text_element("p", "Neither group goes on to any category more often than the other, beyond chance.")
        return
    with container("section", "card section"):
        text_element("h2", "Where they differ")
        text_element(
            "p", "share of each group that went on to it; times: the first share over the second, with its 95% interval", "soft small"
        )
        rows = [
            [
                " › ".join(difference["category"]) or "(no category)",
                f"{difference['share'][0]:.0%}",
                f"{difference['share'][1]:.0%}",
                f"{_format_ratio(difference['ratio'])} "
                f"({_format_ratio(difference['ratio_interval'][0])} to {_format_ratio(difference['ratio_interval'][1])})",
            ]
            for difference in comparison["differences"]
        ]
        data_table("Where the two groups differ", ["Category", first["question"], second["question"], "Times (95%)"], rows, (1, 2, 3))
    for note in [f"{group['question']}: {note}" for group in (first, second) for note in group["notes"]]:
        notice(note, "note").style("margin-top: 14px")
    coverage = f"Every number covers at least {first['privacy']['min_users']} {words.users}. "
    coverage += words.fill("{Users} in both groups count in both.")
    text_element("p", f"{coverage} What goes together is not always cause and effect.", "soft small").style("margin-top: 14px")


def _format_ratio(value: float | None) -> str:
    """A ratio with one decimal; a dash for an infinite ratio, which JSON has as null."""
    return "–" if value is None else f"{value:.1f}"
