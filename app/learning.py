"""The commands of a scientist: train, and evaluate what was trained."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Chroma, Llm, Quantization, Where, console, print_json, settings_with


def train(
    workspace: Where,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn; evaluate with the same one.")] = 0,
    everything: Annotated[
        bool, typer.Option("--everything", help="Hold nobody out: for serving, after an evaluation has said that it is good.")
    ] = False,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Learns from the store's own histories what goes with what, and how to weigh the channels.

    The shoppers that `evaluate` tests with the same seed are not learned from.

    Example: crossaisle train -w shop
    """
    from ..data.splits import Split
    from ..data.workspace import Workspace
    from ..eval.learning import learn
    from . import render
    from .progress import bar

    with bar() as tell:
        learned = learn(Workspace(workspace), settings_with(chroma=chroma), Split(seed=seed), everything=everything, progress=tell)
    if as_json:
        print_json(learned)
        return
    blend = learned["blend"]
    render.figures(
        console(),
        f"{workspace}: trained",
        {
            "shoppers asked": blend["questions"],
            "of them answered by the candidates": blend["answered"],
            "NDCG@10 of the weighted sum (validation)": blend["weighted_sum_ndcg@10"],
            "NDCG@10 with trees (validation)": blend["trees_ndcg@10"],
            "chosen": blend["chosen"],
            "left out": learned["left_out"],
            "seconds": learned["seconds"],
        },
    )
    console().print(f"next: crossaisle evaluate -w {workspace} --out report" + (f" --seed {seed}" if seed else ""))


def evaluate(
    workspace: Where,
    out: Annotated[Path, typer.Option(help="Folder for report.json and report.html; a killed run goes on from what is there.")],
    protocol: Annotated[
        str, typer.Option(help="users: held-out users and a category they never bought from; leave-one-out; or temporal.")
    ] = "users",
    cases: Annotated[Path | None, typer.Option(help="A file of cases instead, one JSON object a line.")] = None,
    save_cases: Annotated[Path | None, typer.Option(help="Writes the cases that were used into this file.")] = None,
    scope: Annotated[
        str | None, typer.Option(help="new: ranks what is outside the history's categories; any: outside the history.")
    ] = None,
    target_category: Annotated[str | None, typer.Option(help="Only cases with a target in this category, which is then ranked.")] = None,
    at: Annotated[str | None, typer.Option(help="First day of the test, as 2024-01-31 (temporal).")] = None,
    k: Annotated[int, typer.Option("-k", help="Length of the lists that are judged.")] = 10,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    max_cases: Annotated[int, typer.Option(help="At most so many cases, by lot; 0 for all.")] = 2000,
    llm_cases: Annotated[int, typer.Option(help="Of those, how many the LLM reads.")] = 500,
    budget: Annotated[int, typer.Option(help="Configurations that are tried of each baseline.")] = 12,
    near_duplicates: Annotated[bool, typer.Option("--near-duplicates", help="Keep targets that are nearly a history item's twin.")] = False,
    baselines_only: Annotated[bool, typer.Option("--baselines-only", help="Leave the product's own systems out.")] = False,
    groups: Annotated[Path | None, typer.Option(help="A table with user_id and other columns.")] = None,
    group_by: Annotated[str | None, typer.Option(help="The column of it whose groups are compared.")] = None,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """How good the recommendations are, beside honest baselines, with intervals.

    Example: crossaisle evaluate -w shop --out report
    """
    from ..data.workspace import Workspace
    from ..eval import cases as case_files
    from ..eval import report as reports
    from ..eval.evaluation import Evaluation, Options
    from . import standings
    from .progress import bar
    from .report_page import page

    settings, opened = settings_with(llm=llm, quantization=quantization, chroma=chroma), Workspace(workspace)
    options = Options(
        protocol=protocol,  # type: ignore[arg-type]  # checked when used
        cases=str(cases) if cases else None,
        seed=seed,
        scope=scope,  # type: ignore[arg-type]  # checked when used
        k=k,
        max_cases=max_cases or None,
        llm_cases=llm_cases,
        target_category=target_category,
        at=at,
        near_duplicates=near_duplicates,
        groups=str(groups) if groups else None,
        group_by=group_by,
        budget=budget,
        baselines_only=baselines_only,
    )
    with bar() as tell:
        rankings = Evaluation(opened, settings, out, options, tell).run()
    if save_cases is not None:
        case_files.save(rankings.cases, rankings.known.catalogue, save_cases)
    found = reports.build(rankings, options, opened, settings.llm)
    written = reports.write(found, out)
    page(json.loads(written.read_text("utf-8")), out / "report.html")
    if as_json:
        print(written.read_text("utf-8"), end="")
    else:
        standings.show(console(), json.loads(written.read_text("utf-8")))
        print(f"written: {written} and {out / 'report.html'}", file=sys.stderr)
