"""Asking a judge many questions: from the cache where they were asked before, several at once, within the limit, and to be gone on with.

Every reply is kept before it counts, so a run may end at any moment and lose nothing. What a question needs (its order, its repetition) is
fixed before the first is asked.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from ...data.errors import EndpointError, RefusedError, TooLongError
from ...llm.chat.messages import Reply
from .cost_budget import CHARACTERS, Prices, Purse, estimated
from .question import NO_ANSWER, REFUSED, TOO_LONG, Judge, Judgement, Question, judged
from .reply_cache import Cache, key

IN_A_ROW = 5
"""Questions without an answer after which the endpoint is taken to be gone."""
REFUSALS = 20
"""Questions that an endpoint may refuse before it has answered any."""

Progress = Callable[[str, int, int], None]


@dataclass
class Ran:
    """What a run did.

    Attributes:
        judgements: those that there are, in the order of the questions. questions: that were to be asked.
        calls: made now for what was answered, failed tries included. kept: replies that were there already. seconds: of the run.
        model_seconds: that the calls took together. prompt_tokens, completion_tokens: of all replies that count; `estimated` where an
            endpoint did not count some.
        cost: of all replies that count. spent: of it, by this run. stopped: why not all was asked, in a sentence; empty where it was.
        too_long: the questions that did not fit. causes: what an endpoint said to refusals.
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
        """The figures as JSON holds them."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("judgements", "causes")}
        unscored: dict[str, int] = {}
        for one in self.judgements:
            if one.unscored:
                unscored[one.unscored] = unscored.get(one.unscored, 0) + 1
        return {
            **told,
            "scored": sum(one.score is not None for one in self.judgements),
            "unscored": dict(sorted(unscored.items())),
            "not_asked": self.questions - len(self.judgements),
            "causes": sorted(set(self.causes))[:5],
        }


@dataclass(frozen=True, slots=True)
class Task:
    """A question, the number of its repetition, and what its reply is kept under."""

    question: Question
    repeat: int
    key: str


def tasks(judge: Judge, questions: Sequence[Question], repeated: float) -> list[Task]:
    """The questions, and after them those that are asked a second time.

    Args: repeated: share of them, 0 to 1; which ones hangs on the question alone, so that a run that is gone on with repeats the same.
    """
    about = judge.about()
    first = [Task(question, 0, key(about, question.prompt_hash, question.asked, 0)) for question in questions]
    again = [task for task in first if int(task.key[:8], 16) < repeated * 16**8]
    return first + [Task(t.question, 1, key(about, t.question.prompt_hash, t.question.asked, 1)) for t in again]


def run(
    judge: Judge,
    name: str,
    todo: Sequence[Task],
    cache: Cache,
    *,
    purse: Purse | None = None,
    at_once: int = 4,
    progress: Progress | None = None,
) -> Ran:
    """Asks all, and returns what came of it.

    A limit that is reached, or an endpoint that is gone after it had answered, ends the run early with what there is.

    Args: name: the judge's, as the report calls it. at_once: calls under way at the same time. progress: told of (stage, done, total).
    Raises: EndpointError: the endpoint cannot be used, and nothing was judged. TooLongError: nothing fits its context. StorageError.
    """
    return _Run(judge, name, todo, cache, purse or Purse(Prices()), max(1, at_once), progress or (lambda *_: None)).go()


class _Run:
    """One run. The thread that asks for it hands out questions and takes in replies; only the calls themselves are made by others."""

    def __init__(self, judge: Judge, name: str, todo: Sequence[Task], cache: Cache, purse: Purse, at_once: int, progress: Progress) -> None:
        self.judge, self.name, self.todo, self.cache, self.purse, self.at_once = judge, name, todo, cache, purse, at_once
        self.progress = progress
        self.longest = int(judge.about().get("max_tokens", 0))
        self.ran = Ran(len(todo))
        self.found: dict[int, Judgement] = {}
        self.answered, self.lost = False, 0
        # Questions may be alike (two systems recommend the same to one user): one call answers them all.
        self.alike: dict[str, list[int]] = {}
        for number, task in enumerate(todo):
            self.alike.setdefault(task.key, []).append(number)

    def go(self) -> Ran:
        start = time.monotonic()
        rest = deque(self._not_kept())
        pool = ThreadPoolExecutor(self.at_once)
        under_way: dict[Future[Reply], tuple[Task, float]] = {}
        try:
            while True:
                self._hand_out(rest, under_way, pool)
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    self._take_in(*under_way.pop(future), future)
        except BaseException:
            self.judge.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        self.judge.close()
        ran = self.ran
        ran.judgements = [self.found[number] for number in sorted(self.found)]
        ran.seconds, ran.spent = time.monotonic() - start, self.purse.spent
        if ran.judgements and not self.answered:
            raise self._nothing()
        return ran

    def _not_kept(self) -> list[Task]:
        """Takes in what was asked before, and returns the rest."""
        rest = []
        for key_, numbers in self.alike.items():
            task = self.todo[numbers[0]]
            reply = self.cache.get(key_)
            if reply is None:
                rest.append(task)
                continue
            self.answered = True
            self.ran.kept += 1
            self._count(task, reply)
            self._judge(task, reply=reply)
        return rest

    def _hand_out(self, rest: deque[Task], under_way: dict[Future[Reply], tuple[Task, float]], pool: ThreadPoolExecutor) -> None:
        """Has as many questions asked as may be under way: one until there was an answer, so that a useless endpoint is asked once."""
        while rest and not self.ran.stopped and len(under_way) < (self.at_once if self.answered else 1):
            aside = self.purse.prices.of(estimated(rest[0].question.asked), self.longest)
            if not self.purse.take(aside):
                if not under_way:  # else some of what is set aside may come back
                    self.ran.stopped = f"the next call might have passed the spend limit of {self.purse.limit:g}"
                return
            task = rest.popleft()
            under_way[pool.submit(self._ask, task)] = (task, aside)

    def _ask(self, task: Task) -> Reply:
        """In a thread of its own: the reply, kept."""
        reply = self.judge.ask(task.question.asked, repeat=task.repeat)
        return self.cache.put(task.key, self.judge.model, task.question.prompt, reply)

    def _take_in(self, task: Task, aside: float, future: Future[Reply]) -> None:
        ran, cost = self.ran, 0.0
        try:
            reply = future.result()
        except TooLongError as error:
            ran.too_long.append(str(task.question))
            ran.causes.append(str(error))
            self._judge(task, cause=TOO_LONG)
        except RefusedError as error:
            ran.causes.append(str(error))
            self._judge(task, cause=REFUSED)
            if not self.answered and len(ran.causes) >= REFUSALS:
                ran.stopped = f"{REFUSALS} questions were refused and none answered"
        except EndpointError as error:
            if not self.answered:
                raise
            ran.causes.append(str(error))
            cost = aside  # what was given up may have been answered all the same, and be paid for
            self.lost += 1
            self._judge(task, cause=NO_ANSWER)
            if self.lost >= IN_A_ROW:
                ran.stopped = ran.stopped or f"{self.lost} questions in a row had no answer; the last: {error}"
        else:
            self.answered, self.lost = True, 0
            ran.calls += reply.calls
            cost = self._count(task, reply) + (reply.calls - 1) * aside
            self._judge(task, reply=reply)
        finally:
            self.purse.settle(aside, cost)

    def _judge(self, task: Task, *, reply: Reply | None = None, cause: str = "") -> None:
        """Notes what came of a question, and of those that are alike."""
        for number in self.alike[task.key]:
            question, repeat = self.todo[number].question, self.todo[number].repeat
            self.found[number] = (
                judged(question, self.name, repeat, reply) if reply else Judgement(question, self.name, repeat, None, unscored=cause)
            )
        self.progress(f"judging by {self.name}", len(self.found), len(self.todo))

    def _count(self, task: Task, reply: Reply) -> float:
        """Adds a reply's tokens to the figures and returns what they cost."""
        ran, prompt, completion = self.ran, reply.prompt_tokens, reply.completion_tokens
        if prompt is None or completion is None:
            prompt, completion = estimated(task.question.asked), int(len(reply.text) / CHARACTERS) + 1
            ran.estimated = True
        cost = self.purse.prices.of(prompt, completion)
        ran.prompt_tokens += prompt
        ran.completion_tokens += completion
        ran.model_seconds += reply.seconds
        ran.cost += cost
        return cost

    def _nothing(self) -> EndpointError | TooLongError:
        """The error of a run in which not one question was answered."""
        cause = self.ran.causes[0]
        if self.ran.too_long:
            return TooLongError(f"not one question could be asked; the first, {self.ran.too_long[0]}: {cause}")
        return EndpointError(f"not one question was answered: {cause}")
