"""`judge.html`: a judging as one page that is read without a network: the verdict on the judge, scores, pairs, and what is worth reading.

All text in it is a stranger's, the judge's reasons too: everything is escaped, and the page forbids itself every script and every address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ..terminal.evaluation_table import format_interval, format_number
from ..terminal.judge_tables import format_run, format_share
from ..terminal.render import printable

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%;font-size:.875rem;margin:.5rem 0 1rem}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #ddd;vertical-align:top}
th:first-child,td:first-child,td.l,th.l{text-align:left;overflow-wrap:break-word;max-width:24rem}
td:not(.l):not(:first-child){white-space:nowrap}
caption{text-align:left;font-weight:600;padding:.25rem 0}
.verdict{border:2px solid #8a5a00;border-left-width:.75rem;padding:.5rem 1rem;margin:1rem 0;background:#fff8e6}
.verdict.ranking{border-color:#00664d;background:#eaf7f2}.verdict.none{border-color:#a33000;background:#fdf0ea}
.scroll{overflow-x:auto}small{color:#555}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:.5rem;font-size:.8125rem}
details{margin:.5rem 0}summary{cursor:pointer}dt{font-weight:600}dd{margin:0 0 .5rem 1rem}
ul{padding-left:1.25rem}
"""
SLICES = 40
"""Parts of one cut that are shown; all are in `judge.json`."""


def page(report: Mapping[str, Any], path: Path) -> None:
    """Writes the page of a judging as `judge.json` holds it.

    Raises: StorageError: it cannot be written.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Judged: {report['users']:,} users</title><style>{STYLE}</style><body><main>",
        f"<h1>What a judge makes of {_names(report['systems'])}</h1>",
        *_verdicts(report),
        *_scores(report),
        *_pairs(report),
        *_steadiness(report),
        *_reading(report),
        *_cost(report),
        *_prompts(report),
        "</main>",
    ]
    with storage_errors(f"the page {path}"):
        write_atomically(path, "\n".join(parts).encode("utf-8", "replace"))


def _verdicts(report: Mapping[str, Any]) -> list[str]:
    found = []
    for name, about in report["verdict"].items():
        reasons = "".join(f"<li>{_text(reason)}</li>" for reason in (about["reasons"] if about["calibrated"] else ()))
        level = about["level"] if about["calibrated"] else "uncalibrated"
        found.append(
            f'<section class="verdict {escape(level)}"><h2>The judge: {_text(about["verdict"])}</h2>'
            f"<p><strong>{_text(name)}</strong>: {_text(about['sentence'])}</p>{f'<ul>{reasons}</ul>' if reasons else ''}</section>"
        )
    rows = [
        [_text(name), *(_number(about[part]) for part in ("users", "recommendations", "with_explanation", "with_evidence", "words"))]
        for name, about in report["systems"].items()
    ]
    head = ["system", "users", "recommendations", "with an explanation", "with evidence", "words of an explanation"]
    return [*found, "<h2>What was judged</h2>", _table("", head, rows), _not_asked(report), *_withheld(report)]


def _not_asked(report: Mapping[str, Any]) -> str:
    told = "; ".join(
        f"{_text(one['criterion'])} {one['times']:,} times, for want of {_text(one['without'])}" for one in report["not_asked"]
    )
    return f"<p><small>Not asked: {told}.</small></p>" if told else ""


def _withheld(report: Mapping[str, Any]) -> list[str]:
    """Words to the judge that it was not shown, and whose they are; a sentence where there are none."""
    systems, cases = report["withheld"]["systems"], report["withheld"]["cases"]
    if not cases:
        return ["<p><small>No text was found to speak to the judge.</small></p>"]
    rows = [[_text(name), f"{about['texts']:,}", f"{about['speak_to_the_judge']:,}"] for name, about in systems.items()]
    of = [[_text(one["system"]), _text(one["user"]), _text(one["item"]), _text(one["part"]), _text(one["words"])] for one in cases]
    return [
        "<h2>Words to the judge</h2><p>Some texts ask for a score, hold a reply or give orders. These words were withheld from the judge; "
        "what is left was judged as if they had not been written.</p>",
        _table("", ["system", "texts", "that speak to the judge"], rows),
        f"<details><summary>The words</summary>{_table('', ['system', 'user', 'item', 'part', 'words'], of, left=5)}</details>",
    ]


def _scores(report: Mapping[str, Any]) -> list[str]:
    if not report["criteria"]:
        return []
    rows, apart, cuts = [], [], []
    for name, about in report["criteria"].items():
        label = escape(name) if about["high_is"] == "good" else f"{escape(name)} <small>(5: {escape(about['high_is'])})</small>"
        for system, told in about["systems"].items():
            rows.append(
                [label, _text(system), format_interval(told, places=2), f"{told['scored']:,}", f"{told['unscored']:,}",
                 f"{told['by_probabilities']:,}", _spread(told["spread"])]
            )  # fmt: skip
        for one in about["differences"]:
            names = f"{_text(one['system'])} minus {_text(one['against'])}"
            apart.append([escape(name), names, format_interval(one, sign=True, places=2), format_number(one["p"]), f"{one['users']:,}"])
        cuts.append(_slices(name, about))
    head = ["criterion", "system", "mean, 1 to 5 (95 %)", "scored", "unscored", "by probabilities", "1 · 2 · 3 · 4 · 5"]
    return [
        "<h2>Scores</h2><p><small>A score is the mean by the probabilities of the five where the judge tells them, else the number that "
        "it wrote. What could not be read is unscored and in no mean. Intervals are of 95 %, by resampling users.</small></p>",
        _table("", head, rows, left=2),
        *(
            [_table("Differences, user by user", ["criterion", "difference", "points (95 %)", "p", "users"], apart, left=2)]
            if apart
            else []
        ),
        f"<details><summary>By history, category, rank and wording</summary>{''.join(cuts)}</details>",
    ]


def _slices(name: str, about: Mapping[str, Any]) -> str:
    rows = [
        [_text(cut), _text(part), _text(system), format_interval(one, places=2), f"{one['scored']:,}"]
        for system, told in about["systems"].items()
        for cut, of_cut in told["slices"].items()
        for part, one in sorted(of_cut.items(), key=lambda pair: -pair[1]["scored"])[:SLICES]
    ]
    return _table(name, ["by", "part", "system", "mean (95 %)", "scored"], rows, left=3) if rows else ""


def _pairs(report: Mapping[str, Any]) -> list[str]:
    found = []
    for name, about in report["pairs"].items():
        rows = [
            [_text(one["system"]), _text(one["against"]), f"{one['pairs']:,}", f"{one['wins']:,}", f"{one['ties']:,}", f"{one['losses']:,}",
             f"{one['unscored']:,}", f"{one['flips']:,} ({format_share(one['flip_rate'])})", format_interval(one["win_rate"], places=2),
             format_interval(one["win_rate_at_equal_length"], places=2), format_number(one["smallest_detectable_difference"], places=2)]
            for one in about["matrix"]
        ]  # fmt: skip
        head = [
            "system",
            "against",
            "pairs",
            "won",
            "tied",
            "lost",
            "unscored",
            "flips",
            "win rate (95 %)",
            "at equal length",
            "smallest difference",
        ]
        sentences = "".join(f"<li>{_text(told)}</li>" for one in about["matrix"] for told in one["conclusions"])
        found += [f"<h2>Pairs: {escape(name)}</h2>", _table("", head, rows, left=2), f"<ul>{sentences}</ul>"]
        if strengths := about.get("strengths"):
            of = [
                [_text(one["system"]), format_interval(one["strength"], sign=True, places=2), f"{one['wins']:g}", f"{one['pairs']:,}"]
                for one in strengths
            ]
            found.append(_table("Strengths (Bradley and Terry)", ["system", "log odds (95 %)", "wins", "pairs"], of))
    if found:
        found.append(
            "<p><small>Every pair is asked in both orders. Who is preferred whichever stands first has won; all else is a tie. A flip is a "
            "pair whose winner changes with the order. The smallest difference is what these pairs would find four times in five, as the "
            "distance of the win rate from one half. At equal length nothing can be said where one is the longer in every pair.</small></p>"
        )
    return found


def _steadiness(report: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            _text(name),
            f"{one['repeated']:,}",
            f"{one['scored_both_times']:,}",
            format_interval(one["same"], places=2),
            format_number(one["apart"], places=2),
        ]
        for name, one in report["repeats"].items()
    ]
    found = [
        "<h2>How steady the judge is</h2>",
        _table("", ["judge", "asked twice", "scored both times", "same answer (95 %)", "mean distance"], rows),
    ]
    of_bias = [
        [_text(name), escape(one["bias"].replace("_", " ")), escape(one["meaning"]), format_interval(one, places=2), f"{one['cases']:,}"]
        for name, told in report["biases"].items()
        for one in told
    ]
    if of_bias:
        found.append(_table("Biases that this run shows", ["judge", "bias", "what 1 would be", "size (95 %)", "cases"], of_bias, left=3))
    if report["own"]:
        own = "".join(f"<li>{_text(one['sentence'])}</li>" for one in report["own"])
        found.append(f"<h3>Texts of the judge's own base</h3><ul>{own}</ul>")
    if report["panel"]:
        of = [[escape(name), f"{one['questions']:,}", format_interval(one["alpha"], places=2)] for name, one in report["panel"].items()]
        found.append(_table("Agreement of the judges", ["criterion", "questions", "Krippendorff's alpha (95 %)"], of))
    return found


def _reading(report: Mapping[str, Any]) -> list[str]:
    if not report["disagreements"]:
        return []
    found = ["<h2>Worth reading</h2>"]
    for one in report["disagreements"]:
        said = "".join(
            f"<dt>{_text(each['judge'])}{', ' + escape(each['order']) if 'order' in each else ''}: {_text(str(each['chosen']))}</dt>"
            f"<dd>{_text(each['reason'])}</dd>"
            for each in one["said"]
        )
        shown = escape("\n".join(map(printable, one["shown"].split("\n"))))
        found.append(f"<details><summary>{_text(one['why'])}: {_text(one['about'])}</summary><dl>{said}</dl><pre>{shown}</pre></details>")
    return found


def _cost(report: Mapping[str, Any]) -> list[str]:
    found = ["<h2>What it took</h2>"]
    for name, about in report["judges"].items():
        told = ", ".join(f"{_text(part)} {_text(str(value))}" for part, value in about["about"].items())
        causes = "".join(f"<li>{_text(cause)}</li>" for cause in about["run"]["causes"])
        long = "".join(f"<li>too long: {_text(case)}</li>" for case in about["run"]["too_long"][:20])
        audit = f"<br>The audit: {_text(format_run(report['audit'][name]))}" if name in report["audit"] else ""
        found.append(f"<p><strong>{_text(name)}</strong>: {_text(format_run(about['run']))}{audit}<br><small>{told}</small></p>")
        found.append(f"<ul>{causes}{long}</ul>" if causes or long else "")
    return found


def _prompts(report: Mapping[str, Any]) -> list[str]:
    return [
        "<h2>Prompts</h2>",
        *(
            f"<details><summary>{escape(one['prompt'])}</summary><small>{escape(one['hash'])}</small><pre>{escape(one['text'])}</pre></details>"
            for one in report["prompts"]
        ),
    ]


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Cells are markup already; the first `left` columns are names."""

    def cells(tag: str, parts: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=l' if place < left else ''}>{part}</{tag}>" for place, part in enumerate(parts))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f"<div class=scroll><table>{told}<thead><tr>{cells('th', list(map(escape, head)))}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _spread(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count:,}" for count in counts.values())


def _names(systems: Mapping[str, Any]) -> str:
    return " and ".join(_text(name) for name in systems)


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:,}"


def _text(text: str) -> str:
    # <bdi>: a name written right to left must not turn the figures beside it around.
    return f"<bdi>{escape(printable(' '.join(text.split())))}</bdi>"
