"""The LLM ranker taught from a store's own shoppers, and its vote in the blend settled on shoppers that it never saw.

    lessons -> users parted -> examples -> LoRA (`train.lora.finetune`) -> margins of the users left over -> the weight of its vote

What is measured goes into the adapter's card; the adapter stands in the workspace only when its vote is settled. A killed run goes on from
its last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.atomic_files import replace_folder, write_atomically
from ..data.errors import CrossaisleError, TrainingError, storage_errors
from ..eval.metrics.accuracy import ndcg
from ..eval.stats.bootstrap import paired_difference
from ..llm.models import adapters
from ..llm.models.language_model import LanguageModel
from ..llm.models.model_source import fingerprint
from ..llm.ranking.ranker import Ranker
from ..recommend.ranking import llm_weight
from ..recommend.ranking.candidate_facts import RANK_PROMPT_VERSION, fact_sentences
from ..recommend.ranking.llm_loading import RANKER_FOLDER
from ..recommend.ranking.llm_weight import LLM_RERANK_DEPTH, NO_LLM_WEIGHT, LLMScoredQuery, LLMWeight
from .lora import finetune
from .lora.finetune import FinetuneConfig, ListwiseExample
from .ranker_examples import EXAMPLES, Lessons

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.settings import Settings
    from ..retrieval.items.catalogue import Catalogue

WORKSHOP = "adapter-training"
"""Where an adapter is made, beside the one in use."""
CANDIDATES, HARD = 8, 5
"""Candidates of an example, and how many of them are among the blend's best, if what was bought is; the others are had as much as that.
What was bought and is not among the best stands only beside things that are had as much: against the best it would teach that what
speaks for an item speaks against it, and what is learned from both cancels out."""
ROUNDS = 3
"""How often a question is asked at most, each time with other candidates, where there are fewer questions than examples are wanted."""
LEARNING, VALIDATING = 0.7, 0.1
"""Shares of the users that are learned from, and that say when to stop; the rest settles the vote."""
VALIDATION, JUDGED = (8, 40), (16, 200)
"""Questions of the two, at least and at most; between them an eighth and a third of what is learned from. The LLM reads each of them, the
first again and again, so they must not cost more than the learning."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lots:
    """Numbers of the questions that are learned from, that say when to stop, and that settle the vote; no user in two of them."""

    learning: NDArray[np.int64]
    validating: NDArray[np.int64]
    judging: NDArray[np.int64]

    @classmethod
    def draw(cls, lessons: Lessons, most: int, seed: int) -> Lots:
        """The lots of the questions whose answer is among the blend's best, and, to learn from, of others if those are too few.

        Args: most: questions that are learned from, at most.
        """
        draw = np.random.default_rng([seed, 2])
        share = draw.random(int(lessons.user.max(initial=-1)) + 1)[lessons.user]
        owner = np.repeat(np.arange(len(lessons)), np.diff(lessons.starts))
        best = lessons.place < LLM_RERANK_DEPTH
        of_best, beside, matched = (
            np.bincount(owner, which, minlength=len(lessons)) > 0
            for which in (lessons.bought & best, lessons.bought & ~best, lessons.matched & ~lessons.bought)
        )

        def some(inside: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
            return draw.permutation(np.flatnonzero(inside))[:limit]

        inside, rest = share < LEARNING, share >= LEARNING + VALIDATING
        learning = some(inside & of_best, most)
        learning = np.sort(np.concatenate([learning, some(inside & ~of_best & beside & matched, most - len(learning))]))
        limits = [min(largest, max(least, len(learning) // part)) for (least, largest), part in ((VALIDATION, 8), (JUDGED, 3))]
        validating, judging = some(~inside & ~rest & of_best, limits[0]), some(rest & of_best, limits[1])
        return cls(learning, np.sort(validating), np.sort(judging))


def teach(
    folder: Path,
    settings: Settings,
    lessons: Lessons,
    catalogue: Catalogue,
    about: Mapping[str, Any],
    *,
    config: FinetuneConfig,
    most: int = EXAMPLES,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Trains the ranking adapter of a workspace, settles its vote, and returns what was measured.

    Args:
        folder: the workspace's. about: what the card says of the data. config: of the LoRA training; its seed draws the lots, too.
        most: examples that are learned from, at most; a question may come again with other candidates.
    Raises:
        TrainingError: too few shoppers, a loss that is no number, or too little memory.
        ModelError, ModelMissingError: the base model cannot be had.
    """
    lots = Lots.draw(lessons, most, config.seed)
    if len(lots.learning) < finetune.MIN_EXAMPLES or not len(lots.validating) or not len(lots.judging):
        raise TrainingError(
            f"{len(lots.learning)} shoppers' questions are too few to teach the LLM; at least {finetune.MIN_EXAMPLES} are wanted, "
            "and some to validate and to judge it: ingest more interactions, or rank without it (--llm none)"
        )
    draw = np.random.default_rng([config.seed, 3])
    rounds = min(ROUNDS, -(-most // len(lots.learning)))
    examples = [example(lessons, number, catalogue, draw, version=config.prompt) for number in lots.learning.tolist() * rounds][:most]
    validation = [
        example(lessons, number, catalogue, draw, hard=CANDIDATES - 1, version=config.prompt) for number in lots.validating.tolist()
    ]
    workshop = folder / WORKSHOP
    if _finished(folder / RANKER_FOLDER, settings, config, examples, validation):  # one seed, one result: it would be the same again
        card = {**adapters.read_card(folder / RANKER_FOLDER), **about}
        if "vote" in card:
            _write(folder / RANKER_FOLDER, card)  # the same data may have been read into a new snapshot
            return {**card["figures"], "vote": card["vote"]["weight"]}
    if not _finished(workshop, settings, config, examples, validation):
        finetune.train(examples, validation, settings, workshop, config, about, lambda at: _tell(progress, at))
    users, read = _read(lessons, lots.judging, catalogue, settings, workshop, progress)
    chosen, figures = settle(read, users, config.seed)
    card = adapters.read_card(workshop)
    card |= {**about, "vote": asdict(chosen), "figures": {**card["figures"], **figures}}
    _write(workshop, card)
    with storage_errors(f"the adapter in {folder / RANKER_FOLDER}"):
        replace_folder(workshop, folder / RANKER_FOLDER)
    return {**card["figures"], "vote": chosen.weight}


def example(
    lessons: Lessons, number: int, catalogue: Catalogue, draw: np.random.Generator, *, hard: int = HARD, version: int = RANK_PROMPT_VERSION
) -> ListwiseExample:
    """One question as the LLM learns from it: one thing that was bought, and others that were not.

    Args:
        hard: how many of the others are among the `READ` that the blend ranks highest, if what was bought is; more where few are had as
            much as that.
        version: of the prompt.
    """
    run = lessons.run(number)
    bought = lessons.bought[run]
    own = np.flatnonzero(bought)
    among = own[own < LLM_RERANK_DEPTH]
    target = int(draw.choice(among if len(among) else own))
    matched = draw.permutation(np.flatnonzero(lessons.matched[run] & ~bought))[: CANDIDATES - 1 - hard if len(among) else CANDIDATES - 1]
    best = draw.permutation(np.flatnonzero(~bought)[:LLM_RERANK_DEPTH])[: CANDIDATES - 1 - len(matched) if len(among) else 0]
    places = np.concatenate([[target], best, matched]).astype(np.int64) + run.start
    return ListwiseExample(
        catalogue.records(lessons.histories[number].tolist()),
        catalogue.records(lessons.rows[places].tolist()),
        0,
        _told(lessons, places, catalogue, version),
    )


def _told(lessons: Lessons, places: NDArray[np.int64] | slice, catalogue: Catalogue, version: int) -> Sequence[str]:
    """What the LLM is told of some candidates by a version of its prompt. What the shopper bought counts one shopper less, as before."""
    users = catalogue.users[lessons.rows[places]] - lessons.bought[places]
    return fact_sentences(lessons.facts[places], users, catalogue, lessons.place[places] + 1 if version >= RANK_PROMPT_VERSION else None)


def settle(read: Sequence[LLMScoredQuery], users: NDArray[np.int64], seed: int) -> tuple[LLMWeight, dict[str, Any]]:
    """The LLM's vote, and what was measured on the shoppers it was settled on: NDCG@10 of the order without, with, and by the LLM alone.

    The vote is 0 unless what it adds has an interval above zero: it costs every answer the model's reading of the candidates.

    Args: users: (questions,) a number per user.
    """
    if not read:
        return NO_LLM_WEIGHT, {"judged": 0}
    chosen = llm_weight.fit_llm_weight(read)
    without = _ndcg([one.scores for one in read], read)
    together = _ndcg([one.scores + chosen.contributions(one.logit_margins) for one in read], read)
    gain = paired_difference(together, without, users, seed=seed)
    if not gain.low > 0:
        chosen = NO_LLM_WEIGHT
    alone = _ndcg([one.logit_margins for one in read], read)
    return chosen, {
        "judged": len(read),
        "judged_blend_ndcg@10": round(float(without.mean()), 4),
        "judged_with_llm_ndcg@10": round(float(together.mean()), 4),
        "judged_llm_ndcg@10": round(float(alone.mean()), 4),
        "judged_gain": gain.to_dict(),
    }


def _ndcg(scores: Sequence[NDArray[np.floating]], read: Sequence[LLMScoredQuery]) -> NDArray[np.float64]:
    """(shoppers,) NDCG@10 of each order of the candidates that were read."""
    hits = np.zeros((len(read), LLM_RERANK_DEPTH), dtype=bool)
    for number, (order, one) in enumerate(zip(scores, read, strict=True)):
        hits[number, : len(order)] = one.bought[np.argsort(-order, kind="stable")]
    return ndcg(hits, np.asarray([max(int(one.bought.sum()), 1) for one in read]), 10)


def _read(
    lessons: Lessons, numbers: NDArray[np.int64], catalogue: Catalogue, settings: Settings, adapter: Path, progress: Progress
) -> tuple[NDArray[np.int64], list[LLMScoredQuery]]:
    """What the tuned LLM, quantized as it will serve, says of the best candidates of some questions, and whose they are.

    Only of those with an answer among them: the others can be ordered neither better nor worse.
    """
    ranker = Ranker(LanguageModel.load(settings, adapter))
    users, found = [], []
    for done, number in enumerate(numbers.tolist()):
        progress("judging the ranker", done, len(numbers))
        run = lessons.run(number)
        best = slice(run.start, min(run.start + LLM_RERANK_DEPTH, run.stop))
        if lessons.bought[best].any():
            rows, told = lessons.rows[best], _told(lessons, best, catalogue, ranker.prompt.version)
            margins = ranker.scores(catalogue.records(lessons.histories[number].tolist()), None, catalogue.records(rows.tolist()), told)
            users.append(int(lessons.user[number]))
            found.append(LLMScoredQuery(lessons.scores[best], margins, lessons.bought[best]))
    progress("judging the ranker", len(numbers), len(numbers))
    return np.asarray(users, dtype=np.int64), found


def _finished(workshop: Path, settings: Settings, config: FinetuneConfig, examples: Sequence[ListwiseExample], validation: Sequence[ListwiseExample]) -> bool:
    """Whether the very adapter that is wanted was trained already, and only its vote is not settled."""
    try:
        card = adapters.read_card(workshop)
    except CrossaisleError:
        return False
    wanted = (finetune.examples_digest(examples, validation), json.loads(json.dumps(asdict(config))), fingerprint(settings.llm, settings.home))
    return (card.get("examples_hash"), card.get("settings"), card.get("base_fingerprint")) == wanted


def _write(adapter: Path, card: Mapping[str, Any]) -> None:
    with storage_errors(f"the adapter in {adapter}"):
        write_atomically(adapter / adapters.CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())


def _tell(progress: Progress, at: finetune.TrainingProgress) -> None:
    progress(f"ranker, loss {at.loss:.3f}", at.step, at.total)
