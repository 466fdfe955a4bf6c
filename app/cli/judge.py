"""The commands that judge recommendations with an LLM: judge, judge compare, judge calibrate."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...data.errors import JudgingError, SettingsError
from .judge_options import (
    CacheFile,
    Calibration,
    Concurrency,
    Criteria,
    DryRun,
    Judges,
    Models,
    OptionalWorkspace,
    Out,
    PerMinute,
    PriceIn,
    PriceOut,
    Repeat,
    Seed,
    SpendLimit,
    Timeout,
    check_output_folder,
    judge_options,
)
from .options import AsJson, Chroma, Llm, Quantization, console, print_json, settings_from

if TYPE_CHECKING:
    from ...data.settings import Settings
    from ...eval.judge.panel import JudgeOptions
    from ...eval.judge.question_plan import QuestionPlan
    from ...eval.judge_analysis.bias_probes import BiasProbes

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def judge(
    context: typer.Context,
    workspace: OptionalWorkspace = None,
    out: Out = None,
    recommendations: Annotated[
        Path | None,
        typer.Option(
            "--recommendations",
            help="File of recommendations (JSON, parquet or csv). Default: recommend for a sample of users of the workspace.",
        ),
    ] = None,
    judges: Judges = None,
    models: Models = None,
    criteria: Criteria = None,
    users: Annotated[int, typer.Option(min=1, help="Number of users to sample.")] = 50,
    k: Annotated[int, typer.Option("-k", min=1, help="Recommendations to judge for each user.")] = 3,
    audit: Annotated[int, typer.Option(min=0, help="Perturbed items per bias probe (length, brand, position).")] = 0,
    dry_run: DryRun = False,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    spend_limit: SpendLimit = None,
    concurrency: Concurrency = 4,
    requests_per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    repeat: Repeat = 0.05,
    cache: CacheFile = None,
    calibration: Calibration = None,
    seed: Seed = 0,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Score recommendations and their explanations from 1 to 5, with confidence intervals. See also: judge compare, judge calibrate.

    Example: crossaisle judge -w shop --out judged --judge openai:http://127.0.0.1:8000/v1 --users 100
    """
    if context.invoked_subcommand is not None:
        return
    from ...eval.judge import question_plan, recommendation_lists, sample_lists
    from ...eval.judge_analysis import bias_probes
    from ..terminal.progress import progress_bar

    if workspace is None and recommendations is None:
        raise SettingsError("nothing to judge: give a workspace (-w shop) or a file of recommendations (--recommendations FILE)")
    names = question_plan.parse_criteria(criteria)
    settings = settings_from(llm=llm, quantization=quantization, chroma=chroma)
    options = judge_options(judges, models, price_in, price_out, spend_limit, concurrency, requests_per_minute, timeout, repeat, seed)
    check_output_folder(out, dry_run)
    lists = recommendation_lists.read_lists(recommendations) if recommendations is not None else []
    if workspace is not None:
        with progress_bar() as progress:
            if recommendations is None:
                lists = sample_lists.recommend_for_sample(workspace, settings, out, users=users, k=k, seed=seed, progress=progress)
            else:
                lists = sample_lists.add_histories(lists, workspace)
    sampled = sample_lists.sample_users([one_list.user for one_list in lists], users, seed)
    lists = [one_list.truncated(k) for one_list in lists if one_list.user in sampled]
    system = str(recommendations or workspace)
    plan = question_plan.QuestionPlan()
    question_plan.add_scoring_questions(plan, system, lists, names)
    systems = {system: sample_lists.list_statistics(lists, recommendations)}
    probes = bias_probes.build_probes(system, lists, audit, seed)
    _run_judging(plan, systems, len(lists), settings, options, out, cache, calibration, dry_run, as_json, probes)


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Two or more files of recommendations for the same users: JSON, parquet or csv.")],
    workspace: OptionalWorkspace = None,
    out: Out = None,
    judges: Judges = None,
    models: Models = None,
    written_by: Annotated[
        list[str] | None,
        typer.Option(
            "--written-by",
            help="Model that wrote the explanations of a file, or - for none. Repeat for each file, in the same order. Judges with the "
            "same base model are then compared with the others (self-preference). Default: the field `writer` of the file.",
        ),
    ] = None,
    criteria: Criteria = "none",
    users: Annotated[int | None, typer.Option(min=1, help="Number of users to sample (default: all).")] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="Recommendations to judge for each user, from the top (default: all).")] = None,
    dry_run: DryRun = False,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    spend_limit: SpendLimit = None,
    concurrency: Concurrency = 4,
    requests_per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    repeat: Repeat = 0.05,
    cache: CacheFile = None,
    calibration: Calibration = None,
    seed: Seed = 0,
    llm: Llm = None,
    quantization: Quantization = None,
    as_json: AsJson = False,
) -> None:
    """Compare two or more files of recommendations, every pair in both orders. A workspace adds the users' histories.

    Example: crossaisle judge compare old.jsonl new.jsonl -w shop --out compared --judge openai:http://127.0.0.1:8000/v1
    """
    from ...eval.judge import question_plan, recommendation_lists, sample_lists
    from ...eval.judge_analysis import self_preference

    if len(files) < 2:
        raise SettingsError("a comparison needs two files or more: crossaisle judge compare old.jsonl new.jsonl --out compared")
    if len({str(file) for file in files}) < len(files):
        raise SettingsError("the same file is given twice; it cannot be compared with itself")
    if written_by and len(written_by) != len(files):
        raise SettingsError(f"{len(written_by)} --written-by for {len(files)} files; give one for each file (- for none)")
    names = question_plan.parse_criteria(criteria)
    settings = settings_from(llm=llm, quantization=quantization)
    options = judge_options(judges, models, price_in, price_out, spend_limit, concurrency, requests_per_minute, timeout, repeat, seed)
    check_output_folder(out, dry_run)
    lists = {str(file): recommendation_lists.read_lists(file) for file in files}
    common = recommendation_lists.common_users(lists)
    left_out = {name: len(file_lists) - len(common) for name, file_lists in lists.items()}
    sampled = sample_lists.sample_users(common, users, seed)
    common = [user for user in common if user in sampled]
    lists = {name: [one_list.truncated(k) for one_list in file_lists if one_list.user in sampled] for name, file_lists in lists.items()}
    lists = sample_lists.align_histories(lists)
    if workspace is not None:
        lists = {name: sample_lists.add_histories(file_lists, workspace) for name, file_lists in lists.items()}
    plan = question_plan.QuestionPlan()
    question_plan.add_pairwise_questions(plan, lists, common)
    for name, file_lists in lists.items():
        question_plan.add_scoring_questions(plan, name, file_lists, names)
    writers = dict(zip(lists, written_by or (), strict=False))
    systems = {
        name: {
            **sample_lists.list_statistics(file_lists, Path(name)),
            "users_left_out": left_out[name],
            "written_by": writers.get(name) or self_preference.common_writer(file_lists),
        }
        for name, file_lists in lists.items()
    }
    _run_judging(plan, systems, len(common), settings, options, out, cache, calibration, dry_run, as_json)


@app.command()
def calibrate(
    labels: Annotated[
        Path, typer.Option(help="Folder of human labels: FBL2023.tsv, which.jsonl, why.jsonl, label_data.csv, *_test.jsonl.")
    ],
    out: Out = None,
    judges: Judges = None,
    models: Models = None,
    questions: Annotated[int, typer.Option(min=1, help="Maximum number of questions of each kind, sampled at random.")] = 300,
    dry_run: DryRun = False,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    spend_limit: SpendLimit = None,
    concurrency: Concurrency = 4,
    requests_per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    repeat: Repeat = 0.05,
    cache: CacheFile = None,
    seed: Seed = 0,
    llm: Llm = None,
    quantization: Quantization = None,
    as_json: AsJson = False,
) -> None:
    """Measure the agreement of a judge with human labels, and derive a verdict on the judge from fixed thresholds.

    Example: crossaisle judge calibrate --labels labels --out calibrated --judge openai:http://127.0.0.1:8000/v1
    """
    from ...eval.judge.panel import dry_run as estimate_run
    from ...eval.judge.panel import run_panel
    from ...eval.judge.question_plan import QuestionPlan
    from ...eval.judge.reply_cache import ReplyCache
    from ...eval.judge_analysis import calibration, human_labels
    from ..terminal import judge_tables
    from ..terminal.progress import progress_bar

    settings = settings_from(llm=llm, quantization=quantization)
    options = judge_options(judges, models, price_in, price_out, spend_limit, concurrency, requests_per_minute, timeout, repeat, seed)
    if len(options.judges) > 1:
        raise SettingsError("only one judge can be calibrated at a time; give one --judge")
    check_output_folder(out, dry_run)
    cases = calibration.sample_cases(human_labels.read_labels(labels, seed=seed), questions, seed)
    questions_by_task = {task: [calibration.build_question(case) for case in task_cases] for task, task_cases in cases.items()}
    plan = QuestionPlan([question for task_questions in questions_by_task.values() for question in task_questions])
    panel = options.load_judges(settings)
    cache_path = cache or (out / "replies.db" if out else None)
    if dry_run:
        with ReplyCache(cache_path) if cache_path and cache_path.exists() else nullcontext() as replies:
            estimate = estimate_run(plan, panel, options, replies)
        print_json(estimate) if as_json else judge_tables.print_dry_run(console(), estimate, options.spend_limit)
        return
    assert out is not None
    assert cache_path is not None
    with ReplyCache(cache_path) as replies, progress_bar() as progress:
        ((name, about, run),) = run_panel(plan, panel, options, replies, progress)
    if run.stopped:
        raise JudgingError(f"no calibration, because not all questions were answered: {run.stopped}; run the command again to resume")
    path = calibration.write_calibration(calibration.build_calibration(name, about, cases, run.judgements, questions_by_task, seed), out)
    content = json.loads(path.read_text("utf-8"))
    if as_json:
        print_json(content)
    else:
        judge_tables.print_calibration(console(), content, run.to_dict())
        print(f"written: {path}", file=sys.stderr)


def _run_judging(
    plan: QuestionPlan,
    systems: Mapping[str, Mapping[str, Any]],
    users: int,
    settings: Settings,
    options: JudgeOptions,
    out: Path | None,
    cache: Path | None,
    calibration_file: Path | None,
    dry_run: bool,
    as_json: bool,
    probes: BiasProbes | None = None,
) -> None:
    """Let the panel answer the planned questions, write the report and print it; in a dry run, print the number of calls and the cost.

    Raises:
        SettingsError: The calibration is of another judge.
    """
    from ...eval.judge.panel import dry_run as estimate_run
    from ...eval.judge.panel import run_panel
    from ...eval.judge.question_plan import QuestionPlan
    from ...eval.judge.reply_cache import ReplyCache
    from ...eval.judge_analysis import calibration, report
    from ...eval.judge_analysis.bias_probes import BiasProbes
    from ..reports.judge_page import page
    from ..terminal import judge_tables
    from ..terminal.progress import progress_bar

    probes = probes or BiasProbes()
    panel = options.load_judges(settings)
    known = calibration.read_calibration(calibration_file) if calibration_file else None
    calibrations = {name: known for name, judge in panel.items() if known and known.matches(judge)}
    if known and not calibrations:
        raise SettingsError(
            f"{calibration_file} belongs to another judge or other settings; calibrate this judge with `crossaisle judge calibrate`"
        )
    cache_path = cache or (out / "replies.db" if out else None)
    if dry_run:
        # A dry run writes nothing, so the cache is opened only if the file exists.
        with ReplyCache(cache_path) if cache_path and cache_path.exists() else nullcontext() as replies:
            everything = QuestionPlan([*plan.questions, *probes.plan.questions], plan.missing)
            estimate = estimate_run(everything, panel, options, replies)
        print_json(estimate) if as_json else judge_tables.print_dry_run(console(), estimate, options.spend_limit)
        return
    assert out is not None
    assert cache_path is not None
    with ReplyCache(cache_path) as replies, progress_bar() as progress:
        runs = run_panel(plan, panel, options, replies, progress)
        spent = sum(run.spent for _, _, run in runs)
        probe_runs = run_panel(probes.plan, panel, options, replies, progress, spent=spent) if probes.plan.questions else []
    settings_json = {
        "repeated": options.repeat_share,
        "seed": options.seed,
        "prices": asdict(options.prices),
        "spend_limit": options.spend_limit,
    }
    result = report.JudgingResult(plan, runs, systems, users, calibrations, settings_json, options.seed, probes, probe_runs)
    path = report.write_report(report.build_report(result), out)
    content = json.loads(path.read_text("utf-8"))
    page(content, out / "judge.html")
    if as_json:
        print_json(content)
    else:
        judge_tables.print_judging(console(), content)
        print(f"written: {path} and {out / 'judge.html'}", file=sys.stderr)
