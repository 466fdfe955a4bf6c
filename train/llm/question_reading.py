"""Lets a language model read out-of-fold questions: the blend's best candidates of each, with the facts and the behaviour of its prompt.

Any model that ranks can read: the bundled one, one with the store's adapter, one at an endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...llm.models.language_model import LanguageModel
from ...llm.models.usage import measure_usage
from ...llm.ranking.ranker import Ranker
from ...llm.ranking.remote_ranker import OFFLINE_SECONDS, RemoteRanker
from ...recommend.ranking.llm_loading import load_ranking_llm, ranking_adapter
from ...recommend.ranking.llm_weight import LLMScoredQuery, gate_features
from ...recommend.ranking.text_weight import adapter_knows_texts
from .prompt_facts import prompt_facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.records import Item
    from ...data.settings import Settings
    from ...llm.models.projector import ProjectorInputs
    from ...llm.ranking.packs import SoftInputs
    from ...retrieval.channels.base import Progress
    from ...retrieval.items.catalogue import Catalogue
    from .ranker_examples import RankerExamples

DEFAULT_SECONDS, MIN_QUESTIONS = 600.0, 400
"""Time after which no further question is read, and the number of questions that are read whatever it takes, where there are so many."""


class MarginScorer(Protocol):
    """What reads candidates: `llm.ranking.ranker.Ranker`, or a remote one."""

    @property
    def behaviour_inputs(self) -> ProjectorInputs | None:
        """What it reads about behaviour; None for texts alone."""
        ...

    def scores(
        self,
        history: Sequence[Item],
        need: str | None,
        candidates: Sequence[Item],
        facts: Sequence[str | None] | None = None,
        behaviour: SoftInputs | None = None,
    ) -> NDArray[np.float32]:
        """Return (candidates,) the logit margin of each candidate, in nats."""
        ...


@dataclass(frozen=True)
class ReadQuestions:
    """Questions that a model has read.

    Attributes:
        users: (questions,) user numbers.
        scored: (questions) all candidates of each, with margins of those that were read and NaN for the others.
        relevant: (questions,) number of purchases of each.
        seconds: time that the reading took.
        tokens: tokens that the model read.
    """

    users: NDArray[np.int64]
    scored: Sequence[LLMScoredQuery]
    relevant: NDArray[np.int64]
    seconds: float
    tokens: int


@contextmanager
def open_ranker(workspace: Path, settings: Settings, *, texts: bool = False) -> Iterator[tuple[Ranker | RemoteRanker, dict[str, Any]]]:
    """The ranker of the settings with the workspace's adapter for it, and what the figures say about it.

    Args:
        workspace: Folder of the workspace.
        settings: The model.
        texts: Whether it is to read text queries, which an adapter that was not trained on pairs is not used for.

    Raises:
        ModelError, ModelMissingError: The model cannot be used or is not installed.
        EndpointError: The endpoint fails.
    """
    if settings.is_remote:
        with closing(RemoteRanker(settings.llm, str(settings.llm_model), seconds=OFFLINE_SECONDS)) as remote:
            yield remote, {"model": settings.llm_model, "protocol": remote.protocol, "adapter": False, "prompt": remote.prompt.version}
        return
    has_adapter = ranking_adapter(workspace, settings) is not None and (not texts or adapter_knows_texts(workspace, settings))
    llm = load_ranking_llm(workspace, settings) if has_adapter else LanguageModel.load(settings)
    ranker = Ranker(llm)
    yield ranker, {"model": llm.name, "quantization": llm.quantization, "adapter": has_adapter, "prompt": ranker.prompt.version}


def read_questions(
    examples: RankerExamples,
    questions: NDArray[np.int64],
    catalogue: Catalogue,
    ranker: MarginScorer,
    *,
    prompt_version: int,
    depth: int,
    seconds: float = DEFAULT_SECONDS,
    progress: Progress = lambda *_: None,
) -> ReadQuestions:
    """Let a model read questions in the given order until the time is up, but at least `MIN_QUESTIONS` of them.

    Args:
        examples: questions with their candidates.
        questions: indices into `examples`, in random order.
        catalogue: the items.
        ranker: reads the candidates.
        prompt_version: version of the prompt that the facts are for.
        depth: number of candidates to read for each question.
        seconds: time after which no further question is read.
        progress: progress callback.
    """
    start, users, scored, relevant = time.monotonic(), [], [], []
    with measure_usage() as usage:
        for done, question in enumerate(questions.tolist()):
            if done >= MIN_QUESTIONS and time.monotonic() - start > seconds:
                break
            progress("the LLM reads questions", done, len(questions))
            every = examples.candidates(question)
            read = slice(every.start, min(every.start + depth, every.stop))
            history = catalogue.records(examples.histories[question].tolist())
            items = catalogue.records(examples.rows[read].tolist())
            margins = np.full(every.stop - every.start, np.nan, np.float32)
            facts = prompt_facts(examples, read, catalogue, prompt_version)
            soft = examples.soft_inputs(question, read, ranker.behaviour_inputs)
            margins[: read.stop - read.start] = ranker.scores(history, None, items, facts, soft)
            bought = examples.purchased[every]
            features = gate_features(
                catalogue.users[examples.rows[every]] - bought, len(examples.histories[question]), examples.disagreement[every]
            )
            users.append(int(examples.user[question]))
            scored.append(LLMScoredQuery(examples.scores[every].astype(np.float64), margins, bought, features))
            relevant.append(int(bought.sum()))
    progress("the LLM reads questions", len(questions), len(questions))
    return ReadQuestions(
        np.asarray(users, dtype=np.int64), scored, np.asarray(relevant, dtype=np.int64), time.monotonic() - start, usage.tokens_in
    )
