"""Asks the teacher: within a budget of requests, several at a time, and nothing twice.

Every reply is stored before it counts (`eval.judge.reply_cache`), so a run can end at any moment and the next one continues. An endpoint
that fails, or is too busy for long, ends the questions and not the training: what was answered is used. Does not know what is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import prompts
from ...data.errors import EndpointError, RefusedError, TooLongError
from ...eval.judge.reply_cache import ReplyCache, reply_key
from ...llm.chat.openai_endpoint import OpenAIEndpoint
from ...llm.chat.rate_limit import RequestRateLimiter, StoppedError
from .config import TeacherConfig
from .grading import PROMPT, GradedQuestion, GradeRequest, TeacherQuestion, agreed_grades, prompt_hash, read_grades

CACHE = "teacher-answers.sqlite"
"""File of a workspace with the teachers' replies. It holds hashes of the requests and grades, no history."""
MAX_TOKENS = 2000
"""Maximum length of a reply: the grades take a hundred tokens, and some models think before."""
MAX_CONSECUTIVE_FAILURES = 3
"""Requests in a row without an answer after which no more are sent."""
MAX_REFUSALS = 20
"""Refused requests after which no more are sent if none was answered."""

Progress = Callable[[str, int, int], None]
Answers = dict[tuple[int, int], list[int] | None]
"""(question, order) to the grades, or to None for an unreadable answer."""


@dataclass(frozen=True)
class TeacherAnswers:
    """What a teacher said.

    Attributes:
        graded: Questions whose answers in both orders agree on something.
        figures: Numbers of the run, as in its metrics.
    """

    graded: Sequence[GradedQuestion]
    figures: dict[str, Any]


class RequestBudget(RequestRateLimiter):
    """Counts the requests of an endpoint, retries included, and allows no more than the budget.

    Args:
        requests: Maximum number of requests.
    """

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.limit, self.sent = requests, 0

    def wait(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            StoppedError: The budget is used up, or `stop` was called.
        """
        with self._lock:
            if self.is_stopped or self.sent >= self.limit:
                raise StoppedError
            self.sent += 1


def ask_teacher(
    config: TeacherConfig, questions: Sequence[TeacherQuestion], workspace: Path, progress: Progress = lambda *_: None
) -> TeacherAnswers:
    """Ask the questions that are not in the cache, and return what the answers to each in both orders agree on.

    Args:
        config: The teacher.
        questions: Questions in the order in which they are asked.
        workspace: Folder with the cache.
        progress: Progress callback.

    Raises:
        EndpointError: The endpoint cannot be used, and there is not a single answer.
        StorageError: An answer cannot be stored.
    """
    budget = RequestBudget(config.budget)
    endpoint = OpenAIEndpoint(
        config.endpoint, config.model, max_tokens=MAX_TOKENS, timeout=config.timeout, max_attempts=config.max_attempts, rate_limiter=budget
    )
    with ReplyCache(workspace / CACHE) as cache, closing(endpoint):
        run = _Run(endpoint, budget, cache, questions, config, progress)
        run.run()
        return run.result()


@dataclass(frozen=True)
class _Task:
    """One request. Attributes: question: index. order: 0, or 1 for the reversed candidates. key: of the reply in the cache."""

    question: int
    order: int
    request: GradeRequest
    key: str


class _Run:
    """State of one run, used by the calling thread only; worker threads make the calls and store the replies."""

    def __init__(
        self,
        endpoint: OpenAIEndpoint,
        budget: RequestBudget,
        cache: ReplyCache,
        questions: Sequence[TeacherQuestion],
        config: TeacherConfig,
        progress: Progress,
    ) -> None:
        self.endpoint, self.budget, self.cache, self.questions, self.progress = endpoint, budget, cache, questions, progress
        self.concurrency, self.model = config.concurrency, config.model
        # Without the address: the same model at another address is not asked again.
        self.about = {"model": config.model, "temperature": endpoint.temperature, "max_tokens": MAX_TOKENS}
        self.answers: Answers = {}
        self.cached = self.started = self.failures = self.consecutive_failures = self.refusals = 0
        self.answered, self.stopped, self.last_error = False, "", ""

    def run(self) -> None:
        """Ask until all questions are answered, the budget is used up or the endpoint fails. Raises: see `ask_teacher`."""
        queue = deque(self._open_questions())
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="teacher")
        in_flight: dict[Future[str], _Task] = {}
        try:
            while True:
                self._submit(queue, in_flight, pool)
                if not in_flight:
                    break
                for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                    self._complete(in_flight.pop(future), future)
        except BaseException:
            self.endpoint.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _open_questions(self) -> list[list[_Task]]:
        """Record the cached answers, and return for each question the requests that are missing."""
        missing = []
        for index, question in enumerate(self.questions):
            tasks = []
            for order, request in enumerate(question.requests()):
                task = _Task(index, order, request, reply_key(self.about, prompt_hash(), request, 0))
                reply = self.cache.get(task.key)
                if reply is None:
                    tasks.append(task)
                else:
                    self.cached += 1
                    self._record(task, reply.text)
            if tasks:
                missing.append(tasks)
        return missing

    def _submit(self, queue: deque[list[_Task]], in_flight: dict[Future[str], _Task], pool: ThreadPoolExecutor) -> None:
        """Submit questions up to the concurrency; before the first answer one request, so that a broken endpoint is asked once."""
        while queue and not self.stopped and len(in_flight) < (self.concurrency if self.answered else 1):
            if len(queue[0]) > self.budget.limit - max(self.started, self.budget.sent):
                self.stopped = f"the budget of {self.budget.limit} requests is used up"  # one order alone tells nothing
                return
            count = self.concurrency - len(in_flight) if self.answered else 1
            tasks, queue[0] = queue[0][:count], queue[0][count:]
            if not queue[0]:
                queue.popleft()
            for task in tasks:
                self.started += 1
                in_flight[pool.submit(self._call, task)] = task

    def _call(self, task: _Task) -> str:
        """Return the text of the stored reply. Runs in a worker thread."""
        reply = self.endpoint.ask(task.request)
        return self.cache.put(task.key, self.model, prompts.load(PROMPT).id, reply).text

    def _complete(self, task: _Task, future: Future[str]) -> None:
        """Record the outcome of a request."""
        try:
            self._record(task, future.result())
            self.consecutive_failures = 0
        except StoppedError:
            self.stopped = self.stopped or f"the budget of {self.budget.limit} requests is used up"
        except (RefusedError, TooLongError) as error:
            self.refusals, self.last_error = self.refusals + 1, str(error)
            if self.refusals >= MAX_REFUSALS and not self.answered:
                self.stopped = f"{self.refusals} requests were refused and none answered; the last: {error}"
        except EndpointError as error:
            self.failures, self.consecutive_failures, self.last_error = self.failures + 1, self.consecutive_failures + 1, str(error)
            if not self.answered:
                raise
            if self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                self.stopped = f"{self.consecutive_failures} requests in a row had no answer; the last: {error}"
        self.progress(f"questions to {self.model}", len(self.answers), 2 * len(self.questions))

    def _record(self, task: _Task, text: str) -> None:
        self.answered = True
        self.answers[task.question, task.order] = read_grades(text, len(task.request.labels))

    def result(self) -> TeacherAnswers:
        """Return the graded questions and the figures. Raises: EndpointError: there is no answer."""
        if self.questions and not self.answered:
            raise EndpointError(f"the teacher {self.model} answered nothing: {self.last_error or self.stopped}")
        graded: list[GradedQuestion] = []
        disagreed, uniform, unreadable, unanswered, same, compared = 0, 0, 0, 0, 0, 0
        for index in range(len(self.questions)):
            if (index, 0) not in self.answers or (index, 1) not in self.answers:
                unanswered += 1
                continue
            forward, backward = self.answers[index, 0], self.answers[index, 1]
            if forward is None or backward is None:
                unreadable += 1
                continue
            same += sum(first == second for first, second in zip(forward, reversed(backward), strict=True))
            compared += len(forward)
            if (question := agreed_grades(index, forward, backward)) is not None:
                graded.append(question)
            elif len({*forward, *backward}) == 1:
                uniform += 1
            else:
                disagreed += 1
        figures = {
            "questions": len(self.questions),
            "answered": len(self.questions) - unanswered,
            "requests": self.budget.sent,
            "from_cache": self.cached,
            "failed": self.failures + self.refusals,
            "unanswered": unanswered,
            "unreadable": unreadable,
            "dropped_for_disagreement": disagreed,
            "dropped_all_alike": uniform,
            "kept": len(graded),
            "same_grade_in_both_orders": round(same / compared, 4) if compared else None,
            "stopped": self.stopped,
        }
        return TeacherAnswers(graded, figures)
