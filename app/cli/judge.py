"""The commands of judging: judge, judge compare, judge calibrate."""

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
from .options import AsJson, Chroma, Llm, Quantization, console, print_json, settings_from

if TYPE_CHECKING:
    from ...data.settings import Settings
    from ...eval.judge.panel import JudgeOptions
    from ...eval.judge.question_plan import QuestionPlan
    from ...eval.judge_analysis.bias_probes import BiasProbes

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
)

Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="local (the default: --model, else the LLM of the settings), or openai:http://host:port/v1. May be repeated: a panel.",
    ),
]
Models = Annotated[list[str] | None, typer.Option("--model", help="The judge's model; one for each --judge, in their order.")]
Criteria = Annotated[str | None, typer.Option(help="Of what is scored from 1 to 5, by commas; all; or none.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count calls, tokens and cost.")]
PriceIn = Annotated[float, typer.Option(help="Of a million tokens that the judge reads.")]
PriceOut = Annotated[float, typer.Option(help="Of a million tokens that it writes.")]
SpendLimit = Annotated[float | None, typer.Option(help="Stop before this is spent.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Calls under way at once; a local model takes one at a time.")]
PerMinute = Annotated[float | None, typer.Option("--requests-per-minute", help="Calls in a minute, at most.")]
Timeout = Annotated[float, typer.Option(help="Seconds for one call.")]
Repeat = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the questions that are asked a second time, to see how steady the judge is.")
]
CacheFile = Annotated[Path | None, typer.Option("--cache", help="File of the replies; replies.db in the folder of --out unless told.")]
Calibration = Annotated[Path | None, typer.Option(help="calibration.json of `judge calibrate`, for the verdict on the judge.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Out = Annotated[Path | None, typer.Option(help="Folder for judge.json and judge.html; a killed run goes on from what is there.")]
WorkspaceOption = Annotated[Path | None, typer.Option("-w", "--workspace", help="Folder of the workspace.")]


@app.callback()
def judge(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    out: Out = None,
    recommendations: Annotated[
        Path | None, typer.Option("--recommendations", help="A file of recommendations: JSON, parquet or csv; else they are made now.")
    ] = None,
    judges: Judges = None,
    models: Models = None,
    criteria: Criteria = None,
    users: Annotated[int, typer.Option(min=1, help="How many users, by lot.")] = 50,
    k: Annotated[int, typer.Option("-k", min=1, help="Recommendations of each that are judged.")] = 3,
    audit: Annotated[
        int, typer.Option(min=0, help="Variants of each kind that show what moves the judge besides quality: length, brand, place.")
    ] = 0,
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
    """Scores recommendations and their explanations from 1 to 5, by criterion, with intervals. See also: judge compare, judge calibrate.

    Example: crossaisle judge -w shop --out judged --judge openai:http://127.0.0.1:8000/v1 --users 100
    """
    if context.invoked_subcommand is not None:
        return
    from ...eval.judge import question_plan, recommendation_lists, sample_lists
    from ...eval.judge_analysis import bias_probes
    from ..terminal.progress import progress_bar

    if workspace is None and recommendations is None:
        raise SettingsError("name what is to be judged: a workspace (-w shop), or a file of recommendations (--recommendations FILE)")
    names = question_plan.parse_criteria(criteria)
    settings = settings_from(llm=llm, quantization=quantization, chroma=chroma)
    terms = _panel_options(judges, models, price_in, price_out, spend_limit, concurrency, requests_per_minute, timeout, repeat, seed)
    _check_output_folder(out, dry_run)
    answers = recommendation_lists.read_lists(recommendations) if recommendations is not None else []
    if workspace is not None:
        with progress_bar() as tell:
            if recommendations is None:
                answers = sample_lists.recommend_for_sample(workspace, settings, out, users=users, k=k, seed=seed, progress=tell)
            else:
                answers = sample_lists.add_histories(answers, workspace)
    chosen = sample_lists.sample_users([answer.user for answer in answers], users, seed)
    answers = [answer.truncated(k) for answer in answers if answer.user in chosen]
    system = str(recommendations or workspace)
    plan = question_plan.QuestionPlan()
    question_plan.add_scoring_questions(plan, system, answers, names)
    systems = {system: sample_lists.list_statistics(answers, recommendations)}
    asked = bias_probes.build_probes(system, answers, audit, seed)
    _run_judging(plan, systems, len(answers), settings, terms, out, cache, calibration, dry_run, as_json, asked)


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Files of recommendations for the same users: JSON, parquet or csv; two or more.")],
    workspace: WorkspaceOption = None,
    out: Out = None,
    judges: Judges = None,
    models: Models = None,
    written_by: Annotated[
        list[str] | None,
        typer.Option(
            "--written-by",
            help="The model that wrote the explanations of a file, - for nobody; one for each file, in their order. "
            "A judge of the same base is then held beside the others. A file may tell it itself (writer).",
        ),
    ] = None,
    criteria: Criteria = "none",
    users: Annotated[int | None, typer.Option(min=1, help="At most so many of the users, by lot; all unless told.")] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="The first so many recommendations of each; all unless told.")] = None,
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
    """Which of two or more files of recommendations a judge prefers, every pair in both orders. A workspace adds the users' histories.

    Example: crossaisle judge compare old.jsonl new.jsonl -w shop --out compared --judge openai:http://127.0.0.1:8000/v1
    """
    from ...eval.judge import question_plan, recommendation_lists, sample_lists
    from ...eval.judge_analysis import self_preference

    if len(files) < 2:
        raise SettingsError("two files are compared, or more: crossaisle judge compare old.jsonl new.jsonl --out compared")
    if len({str(file) for file in files}) < len(files):
        raise SettingsError("a file stands among the files twice; it cannot be compared with itself")
    if written_by and len(written_by) != len(files):
        raise SettingsError(f"--written-by {len(written_by)} times for {len(files)} files; name one for each, in their order, - for nobody")
    names = question_plan.parse_criteria(criteria)
    settings = settings_from(llm=llm, quantization=quantization)
    terms = _panel_options(judges, models, price_in, price_out, spend_limit, concurrency, requests_per_minute, timeout, repeat, seed)
    _check_output_folder(out, dry_run)
    answers = {str(file): recommendation_lists.read_lists(file) for file in files}
    both = recommendation_lists.common_users(answers)
    left_out = {name: len(of_one) - len(both) for name, of_one in answers.items()}
    both = [user for user in both if user in sample_lists.sample_users(both, users, seed)]
    chosen = set(both)
    answers = {name: [answer.truncated(k) for answer in of_one if answer.user in chosen] for name, of_one in answers.items()}
    answers = sample_lists.align_histories(answers)
    if workspace is not None:
        answers = {name: sample_lists.add_histories(of_one, workspace) for name, of_one in answers.items()}
    plan = question_plan.QuestionPlan()
    question_plan.add_pairwise_questions(plan, answers, both)
    for name, of_one in answers.items():
        question_plan.add_scoring_questions(plan, name, of_one, names)
    writers = dict(zip(answers, written_by or (), strict=False))
    systems = {
        name: {
            **sample_lists.list_statistics(of_one, Path(name)),
            "users_left_out": left_out[name],
            "written_by": writers.get(name) or self_preference.common_writer(of_one),
        }
        for name, of_one in answers.items()
    }
    _run_judging(plan, systems, len(both), settings, terms, out, cache, calibration, dry_run, as_json)


@app.command()
def calibrate(
    labels: Annotated[
        Path, typer.Option(help="Folder with what people said: FBL2023.tsv, which.jsonl, why.jsonl, label_data.csv, *_test.jsonl.")
    ],
    out: Out = None,
    judges: Judges = None,
    models: Models = None,
    questions: Annotated[int, typer.Option(min=1, help="Of each kind, at most, by lot.")] = 300,
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
    """Holds a judge against people: it answers what they answered, and how far it can be trusted follows by stated thresholds.

    Example: crossaisle judge calibrate --labels labels --out calibrated --judge openai:http://127.0.0.1:8000/v1
    """
    from ...eval.judge import panel as judging
    from ...eval.judge.question_plan import QuestionPlan
    from ...eval.judge.reply_cache import ReplyCache
    from ...eval.judge_analysis import calibration as calibrating
    from ...eval.judge_analysis import human_labels
    from ..terminal import judge_tables
    from ..terminal.progress import progress_bar

    settings = settings_from(llm=llm, quantization=quantization)
    terms = _panel_options(judges, models, price_in, price_out, spend_limit, concurrency, requests_per_minute, timeout, repeat, seed)
    if len(terms.judges) > 1:
        raise SettingsError("one judge is calibrated at a time; name one --judge")
    _check_output_folder(out, dry_run)
    found = calibrating.sample_cases(human_labels.read_labels(labels, seed=seed), questions, seed)
    asked = {task: [calibrating.build_question(case) for case in cases] for task, cases in found.items()}
    plan = QuestionPlan([one for of_task in asked.values() for one in of_task])
    panel = terms.load_judges(settings)
    path = cache or (out / "replies.db" if out else None)
    if dry_run:
        with ReplyCache(path) if path and path.exists() else nullcontext() as kept:
            took = judging.dry_run(plan, panel, terms, kept)
        print_json(took) if as_json else judge_tables.print_dry_run(console(), took, terms.spend_limit)
        return
    assert out is not None
    assert path is not None
    with ReplyCache(path) as kept, progress_bar() as tell:
        ((name, about, ran),) = judging.run_panel(plan, panel, terms, kept, tell)
    if ran.stopped:
        raise JudgingError(
            f"not all was asked, so there is no calibration: {ran.stopped}; what was answered is kept, run it again to go on"
        )
    told = calibrating.build_calibration(name, about, found, ran.judgements, asked, seed)
    written = calibrating.write_calibration(told, out)
    content = json.loads(written.read_text("utf-8"))
    if as_json:
        print_json(content)
    else:
        judge_tables.print_calibration(console(), content, ran.to_dict())
        print(f"written: {written}", file=sys.stderr)


def _panel_options(
    judges: list[str] | None,
    models: list[str] | None,
    price_in: float,
    price_out: float,
    spend_limit: float | None,
    concurrency: int,
    per_minute: float | None,
    timeout: float,
    repeat: float,
    seed: int,
) -> JudgeOptions:
    from ...eval.judge.cost_budget import CostBudget, Prices
    from ...eval.judge.panel import LOCAL, JudgeOptions

    prices = Prices(price_in, price_out)
    CostBudget(prices, spend_limit)  # complains of a limit that can mean nothing before anything is made
    return JudgeOptions(
        tuple(judges or (LOCAL,)), tuple(models or (None,)), prices, spend_limit, concurrency, per_minute, timeout, repeat, seed
    )


def _check_output_folder(out: Path | None, dry_run: bool) -> None:
    """Raises: SettingsError: no folder to write into, or it is a file."""
    if out is None and not dry_run:
        raise SettingsError("name the folder of the report: --out judged (or ask with --dry-run for what it would take)")
    if out is not None and out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; --out is a folder")


def _run_judging(
    plan: QuestionPlan,
    systems: Mapping[str, Mapping[str, Any]],
    users: int,
    settings: Settings,
    terms: JudgeOptions,
    out: Path | None,
    cache: Path | None,
    calibration: Path | None,
    dry_run: bool,
    as_json: bool,
    audit: BiasProbes | None = None,
) -> None:
    """Has the panel judge what was planned, and writes and tells what came of it; or only tells what it would take."""
    from ...eval.judge import panel as judging
    from ...eval.judge.question_plan import QuestionPlan
    from ...eval.judge.reply_cache import ReplyCache
    from ...eval.judge_analysis import calibration as calibrating
    from ...eval.judge_analysis import report as judge_report
    from ...eval.judge_analysis.bias_probes import BiasProbes
    from ..reports.judge_page import page
    from ..terminal import judge_tables
    from ..terminal.progress import progress_bar

    audit = audit or BiasProbes()
    panel = terms.load_judges(settings)
    known = calibrating.read_calibration(calibration) if calibration else None
    calibrations = {name: known for name, judge in panel.items() if known and known.matches(judge)}
    if known and not calibrations:
        raise SettingsError(
            f"{calibration} is of another judge, or of other settings; calibrate this one with `crossaisle judge calibrate`"
        )
    path = cache or (out / "replies.db" if out else None)
    if dry_run:
        # A dry run writes nothing: a file of replies is read only where there is one.
        with ReplyCache(path) if path and path.exists() else nullcontext() as kept:
            found = judging.dry_run(QuestionPlan([*plan.questions, *audit.plan.questions], plan.missing), panel, terms, kept)
        print_json(found) if as_json else judge_tables.print_dry_run(console(), found, terms.spend_limit)
        return
    assert out is not None
    assert path is not None
    with ReplyCache(path) as kept, progress_bar() as tell:
        runs = judging.run_panel(plan, panel, terms, kept, tell)
        spent = sum(ran.spent for _, _, ran in runs)
        audited = judging.run_panel(audit.plan, panel, terms, kept, tell, spent=spent) if audit.plan.questions else []
    options = {"repeated": terms.repeat_share, "seed": terms.seed, "prices": asdict(terms.prices), "spend_limit": terms.spend_limit}
    judged = judge_report.JudgingResult(plan, runs, systems, users, calibrations, options, terms.seed, audit, audited)
    written = judge_report.write_report(judge_report.build_report(judged), out)
    report = json.loads(written.read_text("utf-8"))
    page(report, out / "judge.html")
    if as_json:
        print_json(report)
    else:
        judge_tables.print_judging(console(), report)
        print(f"written: {written} and {out / 'judge.html'}", file=sys.stderr)
