"""`report.html`: an evaluation as one page that is read without a network: the table, pictures, and the cases lost worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ..terminal.evaluation_table import format_interval, format_number, systems_by_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {"baseline": "#0072B2", "channel": "#E69F00", "blend": "#D55E00", "ablation": "#999999"}
"""Of Okabe and Ito's palette, which colour-blind readers tell apart."""
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%;font-size:.875rem}th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child,td.l,th.l{text-align:left}tr.best td{font-weight:600}svg{max-width:100%;height:auto}
.cases{display:grid;gap:1rem}.case{border:1px solid #ddd;padding:.5rem 1rem}dt{font-weight:600}dd{margin:0 0 .5rem 1rem}
.scroll{overflow-x:auto}small{color:#555}
"""


def page(report: Mapping[str, Any], path: Path) -> None:
    """Writes the page of a report as `report.json` holds it.

    Raises: StorageError: it cannot be written.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Evaluation: {report['cases']:,} cases</title><style>{STYLE}</style><body>",
        _head(report),
        "<h2>All systems</h2>",
        _table(report),
        "<h2>Difference to the best baseline, case by case</h2>",
        _svg(lambda axes: _forest(axes, report), 8.5, 0.32 * len(report["systems"]) + 1),
        "<h2>By length of the history</h2>",
        _svg(lambda axes: _lengths(axes, report), 8.5, 4),
        "<h2>Coverage against accuracy</h2>",
        _svg(lambda axes: _coverage(axes, report), 8.5, 5),
        *(_own(report) if report["candidate_recall"] else ()),
        "<h2>Beyond accuracy</h2>",
        _beyond(report),
    ]
    with storage_errors(f"the report {path}"):
        write_atomically(path, "\n".join(parts).encode())


def _own(report: Mapping[str, Any]) -> list[str]:
    """What there is to say of the product's own systems only."""
    novelty = ["<h2>What novelty costs</h2>", _novelty(report)] if report.get("novelty") else []
    new = ["<h2>What places for new items cost</h2>", _new_items(report)] if report.get("new_items") else []
    return [
        "<h2>Targets among the candidates</h2>",
        _recall(report),
        *novelty,
        *new,
        "<h2>Where the blend loses worst</h2>",
        _losing(report),
    ]


def _head(report: Mapping[str, Any]) -> str:
    split, training = report["split"], report["training"]
    told = [
        f"<h1>Evaluation: {escape(split['protocol'])}</h1>",
        f"<p>{report['cases']:,} cases of {report['users']:,} users, seed {split['seed']}. Every eligible item is ranked; "
        f"{'items outside the categories of the history' if report['scope'] == 'new' else 'items outside the history'} are. "
        f"Trained on {training['interactions']:,} interactions of {training['users']:,} users and {training['items']:,} items. "
        f"The LLM ({escape(str(report['llm']))}) read {report['llm_cases']:,} cases; its systems, and what they are compared with, are of "
        "those. "
        "Intervals are of 95 %, by resampling users.</p>",
    ]
    if report["left_out"]:
        told.append(f"<p><small>Left out: {'; '.join(f'{escape(what)}: {n:,}' for what, n in report['left_out'].items())}.</small></p>")
    missing = [f"{escape(name)}: {escape(about['left_out'])}" for name, about in report["baselines"].items() if "left_out" in about]
    if missing:
        told.append(f"<p><small>Baselines left out: {'; '.join(missing)}.</small></p>")
    return "\n".join(told)


def _table(report: Mapping[str, Any]) -> str:
    k = report["k"]
    head = ["cases", f"NDCG@{k}", f"recall@{k}", f"hit@{k}", f"MAP@{k}", "MRR", "against the best baseline", "p"]
    rows = []
    for name, about in systems_by_kind(report):
        best, difference = name == report["best_baseline"], about["vs_best_baseline"]
        cells = [
            f"{about['cases']:,}",
            format_interval(about[f"ndcg@{k}"]),
            *(format_number(about[metric]["value"]) for metric in (f"recall@{k}", f"hit@{k}", f"map@{k}", "mrr")),
            "best" if best else format_interval(difference, sign=True),
            "" if best or difference.get("p") is None else f"{difference['p']:.4f}",
        ]
        rows.append((name, about["kind"], cells, best))
    return _grid(["system", "kind", *head], [([name, kind, *cells], best) for name, kind, cells, best in rows])


def _recall(report: Mapping[str, Any]) -> str:
    held = report["candidate_recall"]
    depths = list(next(iter(held.values())))
    rows = [([name, *(format_number(shares[n]) for n in depths)], False) for name, shares in held.items()]
    return _grid(["channel", *(f"first {n}" for n in depths)], rows)


def _novelty(report: Mapping[str, Any]) -> str:
    metric = f"ndcg@{report['k']}"
    rows = [
        (
            [
                f"{level['novelty']:g}",
                format_interval(level[metric]),
                format_interval(level["minus_none"], sign=True),
                format_number(level["coverage"]),
                f"{level['average_popularity']:,.1f}",
            ],
            False,
        )
        for level in report["novelty"]
    ]
    return _grid(["novelty", metric.upper(), "minus none", "coverage", "users of an item shown"], rows)


def _new_items(report: Mapping[str, Any]) -> str:
    parts = [name for name in report["new_items"][0] if name not in ("places", "up_to")]
    rows = []
    for way in report["new_items"]:
        cells = [str(way["places"]), str(way["up_to"]) if way["places"] else ""]
        for name in parts:
            cells += [format_interval(way[name]["ndcg@10"]), format_interval(way[name]["minus_none"], sign=True)]
        rows.append((cells, False))
    counts = {name: report["new_items"][0][name]["cases"] for name in parts}
    heads = [head for name in parts for head in (f"NDCG@10, {name} ({counts[name]:,} cases)", "minus none")]
    return _grid(["places", "users of a new item, at most", *heads], rows)


def _beyond(report: Mapping[str, Any]) -> str:
    names = list(next(iter(report["systems"].values()))["beyond"])
    rows = [([name, *(format_number(about["beyond"][one]) for one in names)], False) for name, about in systems_by_kind(report)]
    return _grid(["system", *(name.replace("_", " ") for name in names)], rows)


def _grid(head: Sequence[str], rows: Sequence[tuple[Sequence[str], bool]]) -> str:
    body = "".join(
        f"<tr{' class=best' if best else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells, best in rows
    )
    return f"<div class=scroll><table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{body}</table></div>"


def _losing(report: Mapping[str, Any]) -> str:
    if not report["losing"]:
        return "<p>In no case does the blend fall behind the best baseline.</p>"
    cards = []
    for case in report["losing"]:
        parts = "".join(
            f"<dt>{escape(name)}</dt><dd>{' · '.join(escape(str(title)) for title in titles) or '–'}</dd>"
            for name, titles in case.items()
            if isinstance(titles, list)
        )
        cards.append(f"<div class=case><p>Case {case['case']}: {format_number(case['difference'], sign=True)}</p><dl>{parts}</dl></div>")
    return f"<div class=cases>{''.join(cards)}</div>"


def _svg(draw: Callable[[Axes], None], width: float, height: float) -> str:
    """A picture as SVG inside the page, its text as text; without pyplot, whose state all threads share."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width, height), layout="constrained")
    axes = picture.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    out = StringIO()
    picture.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _forest(axes: Axes, report: Mapping[str, Any]) -> None:
    names = [(name, about) for name, about in reversed(systems_by_kind(report)) if name != report["best_baseline"]]
    for place, (_, about) in enumerate(names):
        told = about["vs_best_baseline"]
        color = COLORS[about["kind"]]
        if told["low"] is not None:
            axes.plot([told["low"], told["high"]], [place, place], color=color, linewidth=2)
        axes.plot(told["value"], place, "o", color=color)
    axes.axvline(0, color="#1a1a1a", linewidth=1)
    axes.set_yticks(range(len(names)), [_safe(name) for name, _ in names])
    axes.set_xlabel(f"NDCG@{report['k']} minus that of {_safe(report['best_baseline'])}")


def _lengths(axes: Axes, report: Mapping[str, Any]) -> None:
    shown = [report["best_baseline"], *(name for name, about in report["systems"].items() if about["kind"] in ("channel", "blend"))]
    for shift, name in enumerate(shown):
        about = report["systems"][name]
        told = about["slices"]["history_length"]
        x = [place + 0.08 * (shift - len(shown) / 2) for place in range(len(told))]
        y = [part["value"] if part["value"] is not None else float("nan") for part in told.values()]
        low = [part["low"] if part["low"] is not None else value for part, value in zip(told.values(), y, strict=True)]
        high = [part["high"] if part["high"] is not None else value for part, value in zip(told.values(), y, strict=True)]
        errors = [[max(v - a, 0) for v, a in zip(y, low, strict=True)], [max(b - v, 0) for v, b in zip(y, high, strict=True)]]
        axes.errorbar(x, y, yerr=errors, marker="os^Dvp*"[shift % 7], linestyle="none", label=_safe(name), capsize=2)
    counts = report["systems"][report["best_baseline"]]["slices"]["history_length"]
    axes.set_xticks(range(len(counts)), [f"{name} items\n{part['cases']:,} cases" for name, part in counts.items()])
    axes.set_ylabel(f"NDCG@{report['k']}")
    axes.legend(frameon=False, fontsize="small")


def _coverage(axes: Axes, report: Mapping[str, Any]) -> None:
    metric = f"ndcg@{report['k']}"
    for place, (name, about) in enumerate(systems_by_kind(report)):
        x, y = about["beyond"]["coverage"], about[metric]["value"]
        # Fewer lists cover less, so what the LLM read a part of stands beside nothing else here.
        if about["kind"] == "ablation" or about["cases"] != report["cases"] or x is None or y is None:
            continue
        axes.plot(x, y, "o", color=COLORS[about["kind"]])
        axes.annotate(_safe(name), (x, y), xytext=(4, 4 if place % 2 else -10), textcoords="offset points", fontsize="small")
    axes.set_xlabel(f"share of the catalogue that somebody is shown among the first {report['k']}")
    axes.set_ylabel(f"NDCG@{report['k']}")


def _safe(text: str) -> str:
    """A name as a label: matplotlib reads dollar signs as mathematics."""
    return text.replace("$", r"\$")
