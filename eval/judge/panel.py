"""Panel of judges: their options, a dry run that estimates the cost, and the runs of all judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...data.errors import QueryError, SettingsError
from ...data.settings import ENDPOINT_PREFIX, Settings
from ...llm.chat.openai_endpoint import OpenAIEndpoint
from ...llm.chat.rate_limit import RequestRateLimiter
from .cost_budget import CHARS_PER_TOKEN, CostBudget, Prices, estimate_tokens
from .question import Judge
from .question_plan import QuestionPlan
from .reply_cache import ReplyCache
from .runner import Progress, RunResult, judge_tasks, run_judge

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """Options of a panel of judges.

    Attributes:
        judges: `local` or `openai:http://host:port/v1`, one per judge.
        models: Model of each judge, None for the default; or one for all.
        prices: Prices per million tokens.
        spend_limit: Limit for all judges together, None for no limit.
        concurrency: Calls in flight.
        requests_per_minute: Rate limit of each endpoint, None for no limit.
        timeout: Seconds per call.
        repeat_share: Share of the questions that are repeated, 0 to 1.
        seed: Seed of all sampling.

    Raises:
        SettingsError: The models do not match the judges, or a rate or a time is not above 0.
    """

    judges: tuple[str, ...] = (LOCAL,)
    models: tuple[str | None, ...] = (None,)
    prices: Prices = field(default_factory=Prices)
    spend_limit: float | None = None
    concurrency: int = 4
    requests_per_minute: float | None = None
    timeout: float = 120.0
    repeat_share: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.models) not in (1, len(self.judges)):
            raise SettingsError(f"{len(self.models)} models for {len(self.judges)} judges: repeat --model once per --judge, in that order")
        if self.requests_per_minute is not None and not 0 < self.requests_per_minute < float("inf"):
            raise SettingsError(f"--requests-per-minute must be above 0, not {self.requests_per_minute}")
        if not 0 < self.timeout < float("inf"):
            raise SettingsError(f"--timeout must be above 0 seconds, not {self.timeout}")

    def load_judges(self, settings: Settings) -> dict[str, Judge]:
        """Return the judges by their name in reports: address and model.

        Raises:
            SettingsError: An address is invalid, or a judge occurs twice.
            ModelError: A model cannot be loaded.
        """
        models = self.models if len(self.models) == len(self.judges) else self.models * len(self.judges)
        judges: dict[str, Judge] = {}
        for address, model in zip(self.judges, models, strict=True):
            judge = self._load_judge(address, model, settings)
            name = f"{address} {judge.model}"
            if name in judges:
                raise SettingsError(f"duplicate judge {name}; use --repeat to measure the consistency of one judge")
            judges[name] = judge
        return judges

    def _load_judge(self, address: str, model: str | None, settings: Settings) -> Judge:
        if address == LOCAL:
            return _load_local_judge(settings.with_(llm=model))
        if not address.startswith(ENDPOINT_PREFIX):
            raise SettingsError(f"--judge must be local or openai:http://host:port/v1, not {address.partition('?')[0]!r}")
        return OpenAIEndpoint(address, model, timeout=self.timeout, rate_limiter=RequestRateLimiter(self.requests_per_minute))


def _load_local_judge(settings: Settings) -> Judge:
    if settings.llm == "none":
        raise SettingsError("no LLM configured for the local judge: set --model, or an endpoint with --judge")
    if settings.is_remote:
        raise SettingsError(f"an endpoint is a judge, not a model: use --judge {ENDPOINT_PREFIX}http://host:port/v1 instead of --model")
    from ...llm.chat.local_model import LocalChatModel
    from ...llm.models.language_model import LanguageModel
    from ...llm.models.model_source import fingerprint

    return LocalChatModel(LanguageModel.load(settings), fingerprint(settings.llm, settings.home))


def dry_run(plan: QuestionPlan, panel: Mapping[str, Judge], options: JudgeOptions, cache: ReplyCache | None) -> dict[str, Any]:
    """Return the calls, tokens and maximum cost of a run as JSON, without making a call.

    Prompt tokens are counted by a local model's tokenizer, else estimated; completion tokens are the maximum.
    """
    estimates: dict[str, Any] = {}
    for name, judge in panel.items():
        tasks = {task.key: task for task in judge_tasks(judge, plan.questions, options.repeat_share)}
        uncached = [task for key, task in tasks.items() if cache is None or cache.get(key) is None]
        counts = [judge.tokens(task.question.request) for task in uncached]
        prompt_tokens = sum(
            estimate_tokens(task.question.request) if count is None else count for task, count in zip(uncached, counts, strict=True)
        )
        completion_tokens = len(uncached) * int(judge.about().get("max_tokens", 0))
        estimates[name] = {
            "questions": len(plan.questions),
            "different_questions_and_repetitions": len(tasks),
            "kept": len(tasks) - len(uncached),
            "calls": len(uncached),
            "prompt_tokens": prompt_tokens,
            "prompt_tokens_are": (
                f"estimated, {CHARS_PER_TOKEN:g} characters a token" if None in counts else "counted by the model's tokenizer"
            ),
            "completion_tokens_at_most": completion_tokens,
            "cost_at_most": round(options.prices.cost(prompt_tokens, completion_tokens), 6),
        }
    return {
        "judges": estimates,
        "calls": sum(estimate["calls"] for estimate in estimates.values()),
        "cost_at_most": round(sum(estimate["cost_at_most"] for estimate in estimates.values()), 6),
        "prices": {"in": options.prices.input, "out": options.prices.output, "of_tokens": 1_000_000},
        "not_asked": plan.skipped(),
    }


def run_panel(
    plan: QuestionPlan,
    panel: Mapping[str, Judge],
    options: JudgeOptions,
    cache: ReplyCache,
    progress: Progress | None = None,
    *,
    spent: float = 0.0,
) -> list[tuple[str, Mapping[str, Any], RunResult]]:
    """Run all questions through each judge in turn, with one budget for the panel.

    Args:
        plan: Questions to ask.
        panel: Judges by name, from `JudgeOptions.load_judges`.
        options: Options of the panel.
        cache: Cache of replies.
        progress: Callback with (stage, done, total).
        spent: Part of the spend limit that is already spent.

    Returns:
        Name, description (`Judge.about`) and result of each judge.

    Raises:
        QueryError: The plan has no questions.
        ModelError: A judge cannot be used.
    """
    if not plan.questions:
        causes = "; ".join(f"{skipped['criterion']}: no {skipped['without']} ({skipped['times']} times)" for skipped in plan.skipped())
        raise QueryError(f"there is nothing to judge: {causes or 'no criterion'}")
    budget = CostBudget(options.prices, options.spend_limit)
    budget.commit(0.0, spent)
    runs: list[tuple[str, Mapping[str, Any], RunResult]] = []
    for name, judge in panel.items():
        spent_before = budget.spent
        tasks = judge_tasks(judge, plan.questions, options.repeat_share)
        result = run_judge(judge, name, tasks, cache, budget=budget, concurrency=options.concurrency, progress=progress)
        result.spent -= spent_before  # the budget is shared by the panel
        runs.append((name, dict(judge.about()), result))
    return runs
