"""The commands of a scientist: train, and evaluate what was trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ...data.errors import SettingsError
from .options import AsJson, Chroma, Llm, Quantization, WorkspacePath, console, print_json, settings_from


def train(
    workspace: WorkspacePath,
    part: Annotated[
        str,
        typer.Argument(
            help="graph (and text heads, factors), blend (and what it stands on), ranker (the LLM, after a blend), explainer, all."
        ),
    ] = "blend",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn; evaluate with the same one.")] = 0,
    everything: Annotated[
        bool, typer.Option("--everything", help="Hold nobody out: for serving, after an evaluation has said that it is good.")
    ] = False,
    convolution: Annotated[str, typer.Option(help="Of the graph: normalised or attention.")] = "normalised",
    examples: Annotated[
        int | None, typer.Option(help="Questions that the LLM learns from, at most: 1,000 unless told, about 1 s each on two cores.")
    ] = None,
    merge: Annotated[Path | None, typer.Option(help="Afterwards write LLM and adapter as one model into this new folder.")] = None,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Learns from the store's own histories what goes with what, and how to weigh the channels; with `ranker` or `all`, to read candidates.

    The shoppers that `evaluate` tests with the same seed are not learned from. A killed training of the ranker goes on with `ranker`.

    Example: crossaisle train -w shop
    """
    from ...data.splits import Split
    from ...data.workspace import Workspace
    from ...retrieval.graph.model import GraphConfig
    from ...train.pipeline import PART_NAMES, learn
    from ..terminal import render
    from ..terminal.progress import progress_bar

    if part not in PART_NAMES:
        raise SettingsError(f"what can be trained is {', '.join(PART_NAMES)}, not {part!r}")
    if convolution not in ("normalised", "attention"):
        raise SettingsError(f"--convolution is normalised or attention, not {convolution!r}")
    if examples is not None and examples < 1:
        raise SettingsError(f"--examples must be 1 or more, not {examples}")
    opened, settings = Workspace(workspace), settings_from(chroma=chroma, llm=llm, quantization=quantization)
    if merge is not None and merge.exists() and any(merge.iterdir()):
        raise SettingsError(f"{merge} is not empty; name a new folder for the merged model")
    config = GraphConfig(seed=seed, convolution=convolution)  # type: ignore[arg-type]  # checked above
    with progress_bar() as tell:
        learned = learn(
            opened,
            settings,
            Split(seed=seed),
            part=part,
            config=config,
            examples=examples,
            everything=everything,
            progress=tell,
        )
    if merge is not None:
        from ...recommend.ranking.llm_loading import RANKER_FOLDER
        from ...train.lora.merge import merge as merge_into

        merge_into(settings, opened.path / RANKER_FOLDER, merge)
    if as_json:
        print_json(learned)
        return
    render.print_report(console(), f"{workspace}: trained", _summary(learned))
    if merge is not None:
        console().print(f"merged: {merge} (recommend with --llm {merge})")
    console().print(f"next: crossaisle evaluate -w {workspace} --out report" + (f" --seed {seed}" if seed else ""))


def _summary(learned: Mapping[str, Any]) -> dict[str, Any]:
    """What was learned, in words for a person."""
    told: dict[str, Any] = {}
    if blend := learned.get("blend"):
        told |= {
            "shoppers asked": blend["questions"],
            "of them answered by the candidates": blend["answered"],
            "NDCG@10 of the weighted sum (validation)": blend["weighted_sum_ndcg@10"],
            "NDCG@10 with trees (validation)": blend["trees_ndcg@10"],
            "chosen": blend["chosen"],
        }
    elif graph := learned.get("graph"):
        told["NDCG@10 of the graph (validation)"] = graph["figures"]["ndcg@10"]
    if factors := learned.get("factors"):
        tried = ", ".join(f"{one['penalty']:g}: {one['ndcg@10']}" for one in factors["tried"])
        told["penalty of the factors, and NDCG@10 with those tried (validation)"] = f"{factors['penalty']:g}; {tried or 'none'}"
    if ranker := learned.get("ranker"):
        told |= {
            "questions that the LLM learned from": ranker["examples"],
            "NDCG@10 among eight candidates (validation), before and after": f"{ranker['zero_shot_ndcg@10']} {ranker['ndcg@10']}",
            "NDCG@10 without its vote, and with it": f"{ranker.get('judged_blend_ndcg@10')} {ranker.get('judged_with_llm_ndcg@10')}",
            "weight of its vote": ranker["vote"],
        }
    if explainer := learned.get("explainer"):
        told |= {
            "wordings that the LLM learned from": explainer["examples"],
            "chance of a token of wordings for items of a category that was kept back, before and after": (
                f"{explainer['zero_shot_token_chance']} {explainer['token_chance']}"
            ),
        }
    return told | {"left out": learned["left_out"], "seconds": learned["seconds"]}


def evaluate(
    workspace: WorkspacePath,
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
    from ...data.workspace import Workspace
    from ...eval.offline import report as reports
    from ...eval.offline.evaluation import Evaluation
    from ...eval.offline.options import EvaluationOptions
    from ...eval.splits import cases as case_files
    from ..reports.evaluation_page import page
    from ..terminal import evaluation_table
    from ..terminal.progress import progress_bar

    settings, opened = settings_from(llm=llm, quantization=quantization, chroma=chroma), Workspace(workspace)
    options = EvaluationOptions(
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
    with progress_bar() as tell:
        rankings = Evaluation(opened, settings, out, options, tell).run()
    if save_cases is not None:
        case_files.save_cases(rankings.cases, rankings.training_view.catalogue, save_cases)
    found = reports.build(rankings, options, opened, settings.llm)
    written = reports.write(found, out)
    page(json.loads(written.read_text("utf-8")), out / "report.html")
    if as_json:
        print(written.read_text("utf-8"), end="")
    else:
        evaluation_table.print_evaluation(console(), json.loads(written.read_text("utf-8")))
        print(f"written: {written} and {out / 'report.html'}", file=sys.stderr)
