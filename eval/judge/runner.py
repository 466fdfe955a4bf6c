"""Run of many questions through a judge: cached, concurrent, within a budget, and resumable.

Each reply is stored before it counts, so a run can end at any moment and lose nothing. The order and the repetitions of the questions are
fixed before the first call. Does not know how a reply is parsed (`question`) or where it is stored (`reply_cache`).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from ...data.errors import EndpointError, RefusedError, TooLongError
from ...llm.chat.messages import ChatResponse
from .cost_budget import CHARS_PER_TOKEN, CostBudget, Prices, estimate_tokens
from .question import NO_ANSWER, REFUSED, TOO_LONG, Judge, Judgement, JudgeQuestion, parse_judgement
from .reply_cache import ReplyCache, reply_key

MAX_CONSECUTIVE_FAILURES = 5
"""Consecutive questions without an answer after which the endpoint counts as unavailable."""
MAX_REFUSALS = 20
"""Refused questions after which a run stops if none was answered."""

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


@dataclass
class RunResult:
    """Judgements and statistics of a run. The fields are keys of `judge.json`.

    Attributes:
        questions: Number of questions, repetitions included.
        judgements: Judgements in the order of the questions.
        calls: Calls of this run, failed attempts of answered questions included.
        kept: Replies from the cache.
        seconds: Duration of the run.
        model_seconds: Sum of the durations of the calls.
        prompt_tokens: Prompt tokens of all replies, cached ones included.
        completion_tokens: Completion tokens of all replies, cached ones included.
        estimated: True if an endpoint did not count the tokens of a reply.
        cost: Cost of all replies, cached ones included.
        spent: Cost of this run.
        stopped: Why the run ended early, as a sentence; empty if it did not.
        too_long: Questions that exceed the context.
        causes: Error messages of the endpoint.
    """

    questions: int
    judgements: list[Judgement] = field(default_factory=list)
    calls: int = 0
    kept: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost: float = 0.0
    spent: float = 0.0
    stopped: str = ""
    too_long: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON."""
        statistics = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("judgements", "causes")}
        unscored = Counter(judgement.unscored for judgement in self.judgements if judgement.unscored)
        return {
            **statistics,
            "scored": sum(judgement.score is not None for judgement in self.judgements),
            "unscored": dict(sorted(unscored.items())),
            "not_asked": self.questions - len(self.judgements),
            "causes": sorted(set(self.causes))[:5],
        }


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """A question with the number of its repetition and the key of its reply in the cache."""

    question: JudgeQuestion
    repeat: int
    key: str


_InFlight = dict[Future[ChatResponse], tuple[JudgeTask, float]]
"""Running calls with their task and reserved cost."""


def judge_tasks(judge: Judge, questions: Sequence[JudgeQuestion], repeat_share: float) -> list[JudgeTask]:
    """Return the tasks of all questions, followed by the repetitions.

    Args:
        judge: Judge of the tasks.
        questions: Questions in order.
        repeat_share: Share of the questions to repeat, 0 to 1. The selection is a hash of the question, so that a resumed run repeats the
            same questions.
    """
    about = judge.about()
    first = [JudgeTask(question, 0, reply_key(about, question.prompt_hash, question.request, 0)) for question in questions]
    repeated = [task.question for task in first if int(task.key[:8], 16) < repeat_share * 16**8]
    return first + [JudgeTask(question, 1, reply_key(about, question.prompt_hash, question.request, 1)) for question in repeated]


def run_judge(
    judge: Judge,
    name: str,
    tasks: Sequence[JudgeTask],
    cache: ReplyCache,
    *,
    budget: CostBudget | None = None,
    concurrency: int = 4,
    progress: Progress | None = None,
) -> RunResult:
    """Run all tasks and return their judgements.

    A run ends early, with the judgements so far, if the budget is used up or an endpoint stops answering.

    Args:
        judge: The judge.
        name: Name of the judge in the report.
        tasks: Tasks from `judge_tasks`.
        cache: Cache of replies.
        budget: Cost budget, None for no limit.
        concurrency: Calls in flight.
        progress: Callback with (stage, done, total).

    Raises:
        EndpointError: The endpoint cannot be used, and nothing was judged.
        TooLongError: No question fits the context.
        StorageError: A reply cannot be stored.
    """
    return _JudgeRun(judge, name, tasks, cache, budget or CostBudget(Prices()), max(1, concurrency), progress or (lambda *_: None)).run()


class _JudgeRun:
    """State of one run. All of it is used by the calling thread; worker threads only make the calls and store the replies."""

    def __init__(
        self,
        judge: Judge,
        name: str,
        tasks: Sequence[JudgeTask],
        cache: ReplyCache,
        budget: CostBudget,
        concurrency: int,
        progress: Progress,
    ) -> None:
        self.judge, self.name, self.tasks, self.cache, self.budget, self.concurrency = judge, name, tasks, cache, budget, concurrency
        self.progress = progress
        self.max_completion_tokens = int(judge.about().get("max_tokens", 0))
        self.result = RunResult(len(tasks))
        self.judgements: dict[int, Judgement] = {}
        self.answered, self.consecutive_failures = False, 0
        # Identical questions (two systems recommend the same item to a user) share one call.
        self.indices_by_key: dict[str, list[int]] = {}
        for index, task in enumerate(tasks):
            self.indices_by_key.setdefault(task.key, []).append(index)

    def run(self) -> RunResult:
        start = time.monotonic()
        queue = deque(self._uncached_tasks())
        pool = ThreadPoolExecutor(self.concurrency)
        in_flight: _InFlight = {}
        try:
            while True:
                self._submit(queue, in_flight, pool)
                if not in_flight:
                    break
                for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                    self._complete(*in_flight.pop(future), future)
        except BaseException:
            self.judge.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            if not in_flight:  # calls in flight may still end and be stored
                self.judge.close()
            raise
        pool.shutdown()
        self.judge.close()
        result = self.result
        result.judgements = [self.judgements[index] for index in sorted(self.judgements)]
        result.seconds, result.spent = time.monotonic() - start, self.budget.spent
        if result.judgements and not self.answered:
            raise self._no_answer_error()
        return result

    def _uncached_tasks(self) -> list[JudgeTask]:
        """Record the cached replies and return the other tasks, one per key."""
        uncached = []
        for key, indices in self.indices_by_key.items():
            task = self.tasks[indices[0]]
            reply = self.cache.get(key)
            if reply is None:
                uncached.append(task)
                continue
            self.answered = True
            self.result.kept += 1
            self._add_usage(task, reply)
            self._record(task, reply=reply)
        return uncached

    def _submit(self, queue: deque[JudgeTask], in_flight: _InFlight, pool: ThreadPoolExecutor) -> None:
        """Submit tasks up to the concurrency; one at a time before the first answer, so that a broken endpoint is called once."""
        while queue and not self.result.stopped and len(in_flight) < (self.concurrency if self.answered else 1):
            reserved = self.budget.prices.cost(estimate_tokens(queue[0].question.request), self.max_completion_tokens)
            if not self.budget.reserve(reserved):
                if not in_flight:  # otherwise calls in flight may release a part of their reservation
                    self.result.stopped = f"the next call might exceed the spend limit of {self.budget.limit:g}"
                return
            task = queue.popleft()
            in_flight[pool.submit(self._call, task)] = (task, reserved)

    def _call(self, task: JudgeTask) -> ChatResponse:
        """Return the stored reply. Runs in a worker thread."""
        reply = self.judge.ask(task.question.request, repeat=task.repeat)
        return self.cache.put(task.key, self.judge.model, task.question.prompt, reply)

    def _complete(self, task: JudgeTask, reserved: float, future: Future[ChatResponse]) -> None:
        """Record the outcome of a call and commit its cost."""
        result, cost = self.result, 0.0
        try:
            reply = future.result()
        except TooLongError as error:
            result.too_long.append(str(task.question))
            result.causes.append(str(error))
            self._record(task, cause=TOO_LONG)
        except RefusedError as error:
            result.causes.append(str(error))
            self._record(task, cause=REFUSED)
            if not self.answered and len(result.causes) >= MAX_REFUSALS:
                result.stopped = f"{MAX_REFUSALS} questions were refused and none answered"
        except EndpointError as error:
            if not self.answered:
                raise
            result.causes.append(str(error))
            cost = reserved  # the endpoint may have answered, and charged for, a call that was given up
            self.consecutive_failures += 1
            self._record(task, cause=NO_ANSWER)
            if self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                result.stopped = result.stopped or f"{self.consecutive_failures} questions in a row had no answer; the last: {error}"
        else:
            self.answered, self.consecutive_failures = True, 0
            result.calls += reply.calls
            cost = self._add_usage(task, reply) + (reply.calls - 1) * reserved
            self._record(task, reply=reply)
        finally:
            self.budget.commit(reserved, cost)

    def _record(self, task: JudgeTask, *, reply: ChatResponse | None = None, cause: str = "") -> None:
        """Record the judgement of all tasks with the key of `task`: parsed from the reply, or unscored with a cause."""
        for index in self.indices_by_key[task.key]:
            question, repeat = self.tasks[index].question, self.tasks[index].repeat
            self.judgements[index] = (
                parse_judgement(question, self.name, repeat, reply)
                if reply
                else Judgement(question, self.name, repeat, None, unscored=cause)
            )
        self.progress(f"judging by {self.name}", len(self.judgements), len(self.tasks))

    def _add_usage(self, task: JudgeTask, reply: ChatResponse) -> float:
        """Add the tokens, time and cost of a reply to the result and return the cost."""
        result, prompt, completion = self.result, reply.prompt_tokens, reply.completion_tokens
        if prompt is None or completion is None:
            prompt, completion = estimate_tokens(task.question.request), int(len(reply.text) / CHARS_PER_TOKEN) + 1
            result.estimated = True
        cost = self.budget.prices.cost(prompt, completion)
        result.prompt_tokens += prompt
        result.completion_tokens += completion
        result.model_seconds += reply.seconds
        result.cost += cost
        return cost

    def _no_answer_error(self) -> EndpointError | TooLongError:
        """Return the error of a run without a single answer."""
        cause = self.result.causes[0]
        if self.result.too_long:
            return TooLongError(f"no question fits the context; the first, {self.result.too_long[0]}: {cause}")
        return EndpointError(f"no question was answered: {cause}")
