"""The commands that train models and evaluate them: train, evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...data.errors import SettingsError
from ...data.former_names import current_channel
from .options import (
    AsJson,
    Chroma,
    Llm,
    LlmModel,
    LlmPolicy,
    LlmWeight,
    Quantization,
    RerankDepth,
    WorkspacePath,
    check_is_folder,
    console,
    print_json,
    settings_from,
)

if TYPE_CHECKING:
    from ...data.settings import Settings
    from ...train.lora.config import FinetuneConfig
    from ...train.teacher.config import TeacherConfig


def train(
    workspace: WorkspacePath,
    part: Annotated[
        str,
        typer.Argument(
            help="graph (all trainable channels), blend (with the channels it uses), ranker (the LLM; needs a blend), llm-weight (any LLM "
            "beside a blend), explainer, all."
        ),
    ] = "blend",
    seed: Annotated[int, typer.Option(help="Random seed; evaluate with the same one.")] = 0,
    protocol: Annotated[
        str, typer.Option(help="Protocol of the evaluation to come: users and whole-category (the same users), leave-one-out or temporal.")
    ] = "users",
    at: Annotated[str | None, typer.Option(help="First day of the test period of that evaluation (temporal).")] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Train on all users, none held out: for serving, after an evaluation.")
    ] = False,
    hold_out: Annotated[
        Path | None,
        typer.Option(help='Hold out the users of this file as well: JSON lines with a "user_id", such as a case file of evaluate.'),
    ] = None,
    convolution: Annotated[str, typer.Option(help="Convolution of the graph model: normalised or attention.")] = "normalised",
    channels: Annotated[
        str | None,
        typer.Option(
            help="Trainable channels, separated by commas: factors, item_regression, complements, graph. Default: factors,item_regression; "
            "part graph trains all of them."
        ),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of lists that the LLM is trained on (default: 1,000, about 1 s each on two cores; 0: pairs alone)."
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(help="Maximum number of pairs that the LLM is trained on first (default: 400; 0 for none).")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Large model that labels examples for ranker and all: openai:http://host:port/v1 (with --teacher-model)."),
    ] = None,
    teacher_model: Annotated[str | None, typer.Option(help="Name of the model at the endpoint of --teacher.")] = None,
    teacher_budget: Annotated[
        int | None, typer.Option(help="Maximum number of requests to the teacher, two for each question (default: 2,000).")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(help="Rank of the LLM's LoRA matrices (default: by its size); alpha is twice the rank.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the LLM (default: by its size, 0.002 for the bundled one).")] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Last transformer blocks of the LLM to adapt, 0 for all (default: by its size).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the LLM's training (default: 1).")] = None,
    prompt: Annotated[
        int | None,
        typer.Option(
            help="Version of the prompt that the LLM is trained for: 4 (default) with behaviour as soft tokens, 2 with sentences about who "
            "bought an item instead."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Minutes for each of the LLM's two weights (default: 10; at least 400 questions and 40 pairs are read)."),
    ] = None,
    rerank_depth: RerankDepth = None,
    merge: Annotated[Path | None, typer.Option(help="Merge the LLM and the adapter into one model in this new folder.")] = None,
    llm: Llm = None,
    llm_model: LlmModel = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Train models on the store's histories: channels and blend, and with `ranker` or `all` the LLM that re-ranks candidates.

    The users that `evaluate` tests with the same seed are held out, and those of the file of --hold-out. An interrupted training of the
    ranker resumes with `ranker`.

    Example: crossaisle train -w shop
    """
    from ...data.workspace import Workspace
    from ...eval.offline.options import EvaluationOptions
    from ...retrieval.graph.channel import GraphChannel
    from ...retrieval.graph.model import GraphConfig
    from ...retrieval.trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS
    from ...train.channels import validate_names
    from ...train.pipeline import TRAINING_PARTS, train_workspace
    from ..terminal import render
    from ..terminal.progress import progress_bar
    from ..terminal.training_summary import training_summary

    if part not in TRAINING_PARTS:
        raise SettingsError(f"unknown part {part!r}; choose {', '.join(TRAINING_PARTS)}")
    if convolution not in ("normalised", "attention"):
        raise SettingsError(f"--convolution must be normalised or attention, not {convolution!r}")
    if examples is not None and examples < 0:
        raise SettingsError(f"--examples must be 0 or more, not {examples}")
    if pairs is not None and pairs < 0:
        raise SettingsError(f"--pairs must be 0 or more, not {pairs}")
    taught_by = _teacher_config(part, teacher, teacher_model, teacher_budget)
    split = EvaluationOptions(protocol, seed=seed, at=at).split()  # type: ignore[arg-type]  # checked there
    opened = Workspace(workspace)
    settings = settings_from(chroma=chroma, llm=llm, llm_model=llm_model, quantization=quantization, rerank_depth=rerank_depth)
    lora = _lora_config(part, settings, {"rank": rank, "lr": lr, "blocks": blocks, "epochs": epochs, "prompt": prompt}, seed)
    if merge is not None and merge.exists() and any(merge.iterdir()):
        raise SettingsError(f"{merge} is not empty; give a new folder for the merged model")
    names = None if channels is None else validate_names([current_channel(name.strip()) for name in channels.split(",") if name.strip()])
    if convolution != "normalised" and part != "graph" and GraphChannel.name not in (names or DEFAULT_CHANNELS):
        raise SettingsError(f"--convolution configures the graph, which is not trained here; add --channels {','.join(TRAINABLE_CHANNELS)}")
    config = GraphConfig(seed=seed, convolution=convolution)  # type: ignore[arg-type]  # checked above
    with progress_bar() as progress:
        cards = train_workspace(
            opened,
            settings,
            split,
            part=part,
            channels=names,
            config=config,
            ranker=lora,
            examples=examples,
            pairs=pairs,
            teacher=taught_by,
            minutes=minutes,
            everything=everything,
            hold_out=hold_out,
            progress=progress,
        )
    if merge is not None:
        from ...recommend.ranking.llm_loading import RANKER_FOLDER
        from ...train.lora.merge import merge as merge_into

        merge_into(settings, opened.path / RANKER_FOLDER, merge)
    if as_json:
        print_json(cards)
        return
    render.print_summary(console(), f"{workspace}: trained", training_summary(cards, Workspace(workspace).manifest.words))
    if hold_out is not None:
        console().print(cards["hold_out"]["summary"])
    if merge is not None:
        console().print(f"merged: {merge} (recommend with --llm {merge})")
    options = (("--protocol", protocol if protocol != "users" else ""), ("--at", at), ("--seed", seed))
    chosen = "".join(f" {name} {value}" for name, value in options if value)
    console().print(f"next: crossaisle evaluate -w {workspace} --out report{chosen}")


def _lora_config(part: str, settings: Settings, values: Mapping[str, float | None], seed: int) -> FinetuneConfig | None:
    """The configuration of the ranker's training; None for the default one. Args: values: of the options, None where not set.

    Raises:
        SettingsError: A value is out of range, or the part trains no ranker.
    """
    from ...train.lora.config import FinetuneConfig
    from ...train.lora.recipe import recipe_for

    chosen: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if not chosen:
        return None
    if part not in ("ranker", "all"):
        raise SettingsError(f"{', '.join(f'--{name}' for name in chosen)}: for the parts ranker and all, not for {part}")
    if chosen.get("blocks", 1) < 0:
        raise SettingsError(f"--blocks must be 0 (all) or more, not {chosen['blocks']}")
    if "blocks" in chosen:
        chosen["blocks"] = chosen["blocks"] or None
    if settings.llm == "none" or settings.is_remote:  # not trained here: the values are only checked
        return FinetuneConfig(seed=seed, **chosen)
    return recipe_for(settings, seed=seed, **chosen)


def _teacher_config(part: str, teacher: str | None, model: str | None, budget: int | None) -> TeacherConfig | None:
    """The teacher of the options; None without one.

    Raises:
        SettingsError: An option is invalid or missing, or the part learns nothing from a teacher.
    """
    from ...train.teacher.config import DEFAULT_BUDGET, TeacherConfig

    if teacher is None:
        if model is not None or budget is not None:
            raise SettingsError("--teacher-model and --teacher-budget configure a teacher; name its endpoint with --teacher")
        return None
    if part not in ("ranker", "all"):
        raise SettingsError(f"--teacher: for the parts ranker and all, not for {part}")
    return TeacherConfig(teacher, model or "", DEFAULT_BUDGET if budget is None else budget)


def evaluate(
    workspace: WorkspacePath,
    out: Annotated[Path, typer.Option(help="Output folder for report.json and report.html; an interrupted run resumes from it.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="users: held-out users, and the category they entered last; whole-category: the same users, and all of one of their "
            "categories; leave-one-out; or temporal."
        ),
    ] = "users",
    cases: Annotated[Path | None, typer.Option(help="File of test cases to use instead, one JSON object per line.")] = None,
    save_cases: Annotated[Path | None, typer.Option(help="Write the test cases to this file.")] = None,
    scope: Annotated[
        str | None, typer.Option(help="Items to rank. new: those outside the history's categories; any: those outside the history.")
    ] = None,
    target_category: Annotated[str | None, typer.Option(help="Use only cases with a target in this category, and rank its items.")] = None,
    at: Annotated[str | None, typer.Option(help="First day of the test period, such as 2024-01-31 (temporal).")] = None,
    k: Annotated[int, typer.Option("-k", help="Length of the evaluated lists.")] = 10,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    max_cases: Annotated[int, typer.Option(help="Maximum number of test cases, sampled at random (0 = all).")] = 2000,
    llm_cases: Annotated[int, typer.Option(help="Number of these cases that the LLM re-ranks.")] = 500,
    budget: Annotated[int, typer.Option(help="Configurations to try for each baseline.")] = 12,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Keep targets that near-duplicate an item in the history.")
    ] = False,
    baselines_only: Annotated[bool, typer.Option("--baselines-only", help="Evaluate the baselines only.")] = False,
    groups: Annotated[Path | None, typer.Option(help="Table with a column user_id, for results by group.")] = None,
    group_by: Annotated[str | None, typer.Option(help="Column of the table that defines the groups.")] = None,
    llm: Llm = None,
    llm_model: LlmModel = None,
    llm_policy: LlmPolicy = None,
    llm_weight: LlmWeight = None,
    rerank_depth: RerankDepth = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate the recommendations offline against baselines, with confidence intervals.

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

    check_is_folder(out)
    ranking = {"llm": llm, "llm_model": llm_model, "llm_policy": llm_policy, "llm_weight": llm_weight, "rerank_depth": rerank_depth}
    settings, opened = settings_from(**ranking, quantization=quantization, chroma=chroma), Workspace(workspace)
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
    with progress_bar() as progress:
        rankings = Evaluation(opened, settings, out, options, progress).run()
    if save_cases is not None:
        case_files.save_cases(rankings.cases, rankings.training_view.catalogue, save_cases)
    report = reports.write(reports.build(rankings, options, opened, settings.llm_name or "none"), out)
    page(json.loads(report.read_text("utf-8")), out / "report.html")
    if as_json:
        print(report.read_text("utf-8"), end="")
    else:
        evaluation_table.print_evaluation(console(), json.loads(report.read_text("utf-8")))
        print(f"written: {report} and {out / 'report.html'}", file=sys.stderr)
