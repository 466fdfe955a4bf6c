"""Ways to get a score for each candidate from an endpoint: log-probabilities of Yes and No, a reranking route, or an order in JSON.

Each protocol takes the same texts and returns one score per candidate, higher is better; only their order and spread within one call
mean something. What an endpoint says is untrusted: numbers that are missing, not finite or for unknown candidates are errors.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP_LOGPROBS = 20
"""Alternatives requested for the first token of an answer."""
MIN_PROBABILITY = 1e-6
"""Smallest share of a reranker's score from 0 to 1, and of 1 minus it, whose logarithm is taken."""
PROMPT_SCHEMA = "order"
"""Key of the JSON answer with the candidates in their order."""

Post = Callable[[str, Mapping[str, Any]], Any]
"""Sends a JSON body to a route of the endpoint and returns the JSON of its answer."""


class UnusableAnswerError(Exception):
    """The endpoint answered, but not with what the protocol needs."""


@dataclass(frozen=True)
class RankTask:
    """One history with its candidates, as texts.

    Attributes:
        system: What the model is asked to do.
        prefix: The history and the text query.
        questions: One question per candidate, which a yes or a no answers.
        documents: One line per candidate, its title and category.
    """

    system: str
    prefix: str
    questions: Sequence[str]
    documents: Sequence[str]


class Protocol(ABC):
    """One way to get scores."""

    name: str

    def __init__(self, post: Post, model: str) -> None:
        """Args: post: see `Post`. model: name of the model at the endpoint."""
        self.post, self.model = post, model

    @abstractmethod
    def calls(self, task: RankTask) -> list[Callable[[], NDArray[np.float64]]]:
        """Return the calls that the task needs, which may run at the same time; their results in order are the candidates' scores.

        A call raises `UnusableAnswerError` if the answer has no usable scores.
        """


class YesNoLogprobs(Protocol):
    """One call per candidate: the difference of the log-probabilities of Yes and No for the first token of the answer.

    All calls start with the same text, so an engine with prefix caching computes it once.
    """

    name = "log-probabilities"

    def calls(self, task: RankTask) -> list[Callable[[], NDArray[np.float64]]]:
        """See `Protocol.calls`."""

        def call(question: str) -> Callable[[], NDArray[np.float64]]:
            return lambda: np.asarray([self._margin(task, question)])

        return [call(question) for question in task.questions]

    def _margin(self, task: RankTask, question: str) -> float:
        answer = self.post(
            "/chat/completions",
            {
                "model": self.model,
                "messages": [{"role": "system", "content": task.system}, {"role": "user", "content": f"{task.prefix}{question}"}],
                "temperature": 0,
                "max_tokens": 1,
                "logprobs": True,
                "top_logprobs": TOP_LOGPROBS,
                "chat_template_kwargs": {"enable_thinking": False},  # the answer of a thinking model would start with its thoughts
            },
        )
        try:
            alternatives = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            pairs = [(str(entry["token"]), float(entry["logprob"])) for entry in alternatives]
        except (KeyError, IndexError, TypeError, ValueError):
            raise UnusableAnswerError("it returns no log-probabilities") from None
        return yes_no_margin(pairs)


def yes_no_margin(alternatives: Sequence[tuple[str, float]]) -> float:
    """Return log P(Yes) - log P(No) from the alternatives of one token, in nats.

    Args:
        alternatives: tokens and their log-probabilities, the most likely ones; an answer that is not among them counts as the least
            likely of them.

    Raises: UnusableAnswerError: neither answer is among them, or a number is not finite.
    """
    if not alternatives or any(math.isnan(logprob) or logprob > 1e-3 for _, logprob in alternatives):
        raise UnusableAnswerError("its log-probabilities are not numbers of 0 or less")
    found: dict[str, float] = {}
    for token, logprob in alternatives:
        answer = token.strip(" \t\r\n\"'.▁Ġ").casefold()
        if answer in ("yes", "no"):
            found[answer] = float(np.logaddexp(found.get(answer, -math.inf), logprob))
    if not found:
        raise UnusableAnswerError("it answers neither Yes nor No")
    least = max(min(logprob for _, logprob in alternatives), -100.0)
    return found.get("yes", least) - found.get("no", least)


class RerankRoute(Protocol):
    """One call for all candidates to a reranking route, in the form of Cohere, Jina and vLLM."""

    name = "rerank"

    def calls(self, task: RankTask) -> list[Callable[[], NDArray[np.float64]]]:
        """See `Protocol.calls`."""
        body = {"model": self.model, "query": task.prefix.strip(), "documents": list(task.documents), "top_n": len(task.documents)}
        return [lambda: indexed_scores(self.post("/rerank", body), ("results", "data"), "relevance_score", len(task.documents))]


class ScoreRoute(Protocol):
    """One call for all candidates to the scoring route of vLLM."""

    name = "score"

    def calls(self, task: RankTask) -> list[Callable[[], NDArray[np.float64]]]:
        """See `Protocol.calls`."""
        body = {"model": self.model, "text_1": task.prefix.strip(), "text_2": list(task.documents)}
        return [lambda: indexed_scores(self.post("/score", body), ("data", "results"), "score", len(task.documents))]


def indexed_scores(answer: Any, lists: Sequence[str], key: str, count: int) -> NDArray[np.float64]:
    """Return (count,) the scores of an answer that lists candidates by `index`; log-odds of scores from 0 to 1.

    Args:
        answer: JSON of the answer.
        lists: names of the list, the first one that is there.
        key: name of the score.
        count: number of candidates.

    Raises: UnusableAnswerError: a candidate is missing, or a score is not a finite number.
    """
    scores = np.full(count, np.nan)
    try:
        for entry in next(answer[name] for name in lists if name in answer):
            index = entry["index"]
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
                raise UnusableAnswerError("it scores candidates that were not sent")
            scores[index] = float(entry[key])
    except (KeyError, TypeError, ValueError, StopIteration):
        raise UnusableAnswerError("its answer is not a list of scores") from None
    if not np.isfinite(scores).all():
        raise UnusableAnswerError("it leaves candidates without a score")
    if scores.min(initial=0.0) >= 0 and scores.max(initial=0.0) <= 1:
        clipped = np.clip(scores, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        return np.asarray(np.log(clipped / (1 - clipped)))
    return scores


class ListwiseJson(Protocol):
    """One call for all candidates, which answers with their numbers in order, best first, as JSON with a schema."""

    name = "listwise"

    def calls(self, task: RankTask) -> list[Callable[[], NDArray[np.float64]]]:
        """See `Protocol.calls`."""
        return [lambda: self._scores(task)]

    def _scores(self, task: RankTask) -> NDArray[np.float64]:
        count = len(task.documents)
        numbers = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": count}, "minItems": count, "maxItems": count}
        schema = {"type": "object", "properties": {PROMPT_SCHEMA: numbers}, "required": [PROMPT_SCHEMA], "additionalProperties": False}
        listed = "\n".join(f"{number}. {document}" for number, document in enumerate(task.documents, start=1))
        question = (
            f"Which of these items does the shopper also need? Answer with JSON only: "
            f'{{"{PROMPT_SCHEMA}": [the numbers of all {count} items, the most needed one first]}}'
        )
        answer = self.post(
            "/chat/completions",
            {
                "model": self.model,
                "messages": [
                    {"role": "system", "content": "You know what people need to go with the things they already have."},
                    {"role": "user", "content": f"{task.prefix}{listed}\n{question}"},
                ],
                "temperature": 0,
                "max_tokens": 32 + 6 * count,
                "response_format": {"type": "json_schema", "json_schema": {"name": "order", "strict": True, "schema": schema}},
                "chat_template_kwargs": {"enable_thinking": False},
            },
        )
        try:
            order = _first_json(answer["choices"][0]["message"]["content"])[PROMPT_SCHEMA]
        except (KeyError, IndexError, TypeError, ValueError):
            raise UnusableAnswerError("its answer is not the JSON that was asked for") from None
        if not isinstance(order, list) or sorted(str(number) for number in order) != sorted(str(number) for number in range(1, count + 1)):
            raise UnusableAnswerError("its order does not hold every candidate once")
        scores = np.empty(count)
        scores[np.asarray([int(number) for number in order]) - 1] = np.arange(count, 0, -1)
        return scores


def _first_json(text: str) -> Any:
    """The first JSON object in a text. Raises: ValueError: there is none."""
    return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]


PROTOCOLS: Sequence[type[Protocol]] = (YesNoLogprobs, RerankRoute, ScoreRoute, ListwiseJson)
"""The protocols in the order in which an endpoint is probed for them."""
