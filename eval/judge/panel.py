"""Who judges, on which terms, what it would take, and the runs of the whole panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...data.errors import QueryError, SettingsError
from ...data.settings import Settings
from ...llm.chat.backoff import Pace
from ...llm.chat.openai_endpoint import PREFIX, Endpoint
from .cost_budget import CHARACTERS, Prices, Purse, estimated
from .question import Judge
from .question_plan import Plan
from .reply_cache import Cache
from .runner import Progress, Ran, run, tasks

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms is judged.

    Attributes:
        judges: `local` or `openai:http://host:port/v1`, one each. models: of each, None for the default; or one for all.
        prices: of a million tokens. spend_limit: of all judges together. at_once: calls under way. per_minute: calls, of each endpoint.
        timeout: seconds for a call. repeated: share of the questions that are asked twice. seed: of what is drawn.
    Raises: SettingsError: models that do not match the judges, or a rate or time that is none.
    """

    judges: tuple[str, ...] = (LOCAL,)
    models: tuple[str | None, ...] = (None,)
    prices: Prices = field(default_factory=Prices)
    spend_limit: float | None = None
    at_once: int = 4
    per_minute: float | None = None
    timeout: float = 120.0
    repeated: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.models) not in (1, len(self.judges)):
            raise SettingsError(
                f"{len(self.models)} models for {len(self.judges)} judges; name one --model for each --judge, in their order"
            )
        if self.per_minute is not None and not 0 < self.per_minute < float("inf"):
            raise SettingsError(f"--requests-per-minute is a number above 0, not {self.per_minute}")
        if not 0 < self.timeout < float("inf"):
            raise SettingsError(f"--timeout is a number of seconds above 0, not {self.timeout}")

    def panel(self, settings: Settings) -> dict[str, Judge]:
        """The judges by the name that reports call them by.

        Raises: SettingsError: what is named is no judge, or one is named twice. ModelError: one cannot be had.
        """
        models = self.models if len(self.models) == len(self.judges) else self.models * len(self.judges)
        found: dict[str, Judge] = {}
        for named, model in zip(self.judges, models, strict=True):
            judge = self._judge(named, model, settings)
            name = f"{named} {judge.model}" if named != LOCAL else f"{LOCAL} {judge.model}"
            if name in found:
                raise SettingsError(f"the judge {name} is named twice; how steady one is shows in its repetitions (--repeat)")
            found[name] = judge
        return found

    def _judge(self, named: str, model: str | None, settings: Settings) -> Judge:
        if named == LOCAL:
            return _local(settings.with_(llm=model))
        if not named.startswith(PREFIX):
            raise SettingsError(f"--judge is local, or openai:http://host:port/v1, not {named.partition('?')[0]!r}")
        return Endpoint(named, model, timeout=self.timeout, pace=Pace(self.per_minute))


def _local(settings: Settings) -> Judge:
    if settings.llm == "none":
        raise SettingsError("the settings name no LLM that could judge; name one with --model, or an endpoint with --judge")
    if settings.llm.startswith(PREFIX):
        raise SettingsError(f"an endpoint judges as --judge {PREFIX}http://host:port/v1, not as --model")
    from ...llm.chat.local_model import LocalAnswers
    from ...llm.models.language_model import LanguageModel, fingerprint

    return LocalAnswers(LanguageModel.load(settings), fingerprint(settings.llm, settings.home))


def dry_run(plan: Plan, panel: Mapping[str, Judge], terms: Terms, cache: Cache | None) -> dict[str, Any]:
    """What a judging would take: calls, tokens and cost, without making one.

    Tokens that are read are counted by a local model's tokenizer, else estimated; those that are written are the most that may be.
    """
    found: dict[str, Any] = {}
    for name, judge in panel.items():
        todo = {task.key: task for task in tasks(judge, plan.questions, terms.repeated)}
        open_ = [task for key, task in todo.items() if cache is None or cache.get(key) is None]
        counted = [judge.tokens(task.question.asked) for task in open_]
        read_ = sum(estimated(task.question.asked) if n is None else n for task, n in zip(open_, counted, strict=True))
        written = len(open_) * int(judge.about().get("max_tokens", 0))
        found[name] = {
            "questions": len(plan.questions),
            "different_questions_and_repetitions": len(todo),
            "kept": len(todo) - len(open_),
            "calls": len(open_),
            "prompt_tokens": read_,
            "prompt_tokens_are": f"estimated, {CHARACTERS:g} characters a token" if None in counted else "counted by the model's tokenizer",
            "completion_tokens_at_most": written,
            "cost_at_most": round(terms.prices.of(read_, written), 6),
        }
    return {
        "judges": found,
        "calls": sum(one["calls"] for one in found.values()),
        "cost_at_most": round(sum(one["cost_at_most"] for one in found.values()), 6),
        "prices": {"in": terms.prices.input, "out": terms.prices.output, "of_tokens": 1_000_000},
        "not_asked": plan.told(),
    }


def judge_all(
    plan: Plan, panel: Mapping[str, Judge], terms: Terms, cache: Cache, progress: Progress | None = None, *, spent: float = 0.0
) -> list[tuple[str, Mapping[str, Any], Ran]]:
    """Has every judge of a panel asked everything, one judge after the other, from one purse.

    Args: spent: what of the spend limit is gone already.
    Raises: QueryError: there is nothing to ask. ModelError: a judge cannot be used.
    """
    if not plan.questions:
        without = "; ".join(f"{one['criterion']}: no {one['without']} ({one['times']} times)" for one in plan.told()) or "no criterion"
        raise QueryError(f"there is nothing to judge: {without}")
    purse = Purse(terms.prices, terms.spend_limit)
    purse.settle(0.0, spent)
    found: list[tuple[str, Mapping[str, Any], Ran]] = []
    for name, judge in panel.items():
        before = purse.spent
        ran = run(judge, name, tasks(judge, plan.questions, terms.repeated), cache, purse=purse, at_once=terms.at_once, progress=progress)
        ran.spent -= before  # the purse is the whole panel's
        found.append((name, dict(judge.about()), ran))
    return found
