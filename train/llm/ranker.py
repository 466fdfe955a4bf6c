"""Trains the LLM ranker on a store's own users.

    examples -> split by user -> prompts -> LoRA (`train.lora.finetune`) -> adapter -> weight of the LLM (`weight`)

The metrics are stored in the adapter's card. Users of the calibration part of the split are kept for the weight. The adapter is moved into
the workspace once it is trained; an interrupted run resumes from its last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import replace_folder, write_atomically
from ...data.errors import CrossaisleError, TrainingError, storage_errors
from ...llm.models import adapters
from ...llm.models.model_source import fingerprint
from ...recommend.ranking.candidate_facts import RANK_PROMPT_VERSION
from ...recommend.ranking.llm_loading import RANKER_FOLDER
from ...recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from ..lora import finetune
from ..lora.finetune import FinetuneConfig, ListwiseExample
from .prompt_facts import prompt_facts
from .ranker_examples import MAX_EXAMPLES, RankerExamples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...retrieval.channels.base import TrainingContext
    from ...retrieval.items.catalogue import Catalogue

QUESTIONS_KEY = "questions"
"""Key of the adapter's card with the `RankerExamples.digest` that it was trained on."""
STAGING_FOLDER = "adapter-training"
"""Folder where an adapter is trained, beside the one in use."""
CANDIDATES, HARD_NEGATIVES = 8, 5
"""Candidates of an example, and how many negatives come from the blend's best if the purchase is among them; the others match its number of
users. A purchase below the blend's best is only compared with matched negatives: compared with the best ones it would teach the LLM that
evidence for an item counts against it, and both lessons would cancel out."""
MAX_REPEATS = 3
"""Largest number of examples of one query, each with other candidates, if there are fewer queries than requested examples."""
TRAINING_SHARE, VALIDATION_SHARE = 0.7, 0.1
"""Shares of the users for training and for early stopping; the others calibrate the weight."""
VALIDATION_LIMITS = (8, 40)
"""Smallest and largest number of validation queries; in between an eighth of the training queries, because the LLM scores all of them
several times."""


@dataclass(frozen=True)
class ExampleSplit:
    """Queries for training, early stopping and the weight of the LLM, as indices; no user is in two of them."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    calibration: NDArray[np.int64]

    @classmethod
    def sample(cls, examples: RankerExamples, max_training: int, seed: int) -> ExampleSplit:
        """Return a random split by user.

        Queries with a purchase among the blend's best come first; others are only used for training, if there are too few.

        Args:
            examples: Queries with their candidates.
            max_training: Largest number of training queries.
            seed: Random seed.
        """
        rng, uniform = np.random.default_rng([seed, 3]), user_uniforms(examples, seed)
        is_best = examples.rank < LLM_RERANK_DEPTH
        best_purchase, lower_purchase, has_matched = (
            np.bincount(examples.query, candidates, minlength=len(examples)) > 0
            for candidates in (examples.purchased & is_best, examples.purchased & ~is_best, examples.matched & ~examples.purchased)
        )

        def draw(selected: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
            return rng.permutation(np.flatnonzero(selected))[:limit]

        for_training, for_calibration = uniform < TRAINING_SHARE, uniform >= TRAINING_SHARE + VALIDATION_SHARE
        training = draw(for_training & best_purchase, max_training)
        lower = draw(for_training & ~best_purchase & lower_purchase & has_matched, max_training - len(training))
        training = np.sort(np.concatenate([training, lower]))
        max_validation = min(VALIDATION_LIMITS[1], max(VALIDATION_LIMITS[0], len(training) // 8))
        validation = draw(~for_training & ~for_calibration & best_purchase, max_validation)
        return cls(training, np.sort(validation), calibration_queries(examples, seed))


def user_uniforms(examples: RankerExamples, seed: int) -> NDArray[np.float64]:
    """Return (queries,) a random number from 0 to 1 of each query's user, which decides its part of the split."""
    return np.random.default_rng([seed, 2]).random(int(examples.user.max(initial=-1)) + 1)[examples.user]


def calibration_queries(examples: RankerExamples, seed: int) -> NDArray[np.int64]:
    """Return the queries of users that an adapter with this seed was not trained on."""
    return np.flatnonzero(user_uniforms(examples, seed) >= TRAINING_SHARE + VALIDATION_SHARE)


def train_llm_ranker(
    folder: Path,
    settings: Settings,
    ranker_examples: RankerExamples,
    catalogue: Catalogue,
    context: TrainingContext,
    *,
    config: FinetuneConfig,
    max_examples: int = MAX_EXAMPLES,
) -> dict[str, Any]:
    """Train the ranking adapter of a workspace, store it, and return the metrics.

    Args:
        folder: Folder of the workspace.
        settings: Settings with the LLM.
        ranker_examples: Queries with their candidates.
        catalogue: Catalogue of the items.
        context: Card entries about the data, and progress. The seed is that of `config`.
        config: LoRA configuration.
        max_examples: Largest number of training examples; a query may be repeated with other candidates.

    Raises:
        TrainingError: There are too few users, the loss became NaN, or memory ran out.
        ModelError, ModelMissingError: The base model cannot be used or is not installed.
    """
    context = replace(context, about={**context.about, QUESTIONS_KEY: ranker_examples.digest})
    split = ExampleSplit.sample(ranker_examples, max_examples, config.seed)
    if len(split.training) < finetune.MIN_EXAMPLES or not len(split.validation) or not len(split.calibration):
        raise TrainingError(
            f"{len(split.training)} training queries are too few for the LLM ranker, it needs at least {finetune.MIN_EXAMPLES}, "
            "and some for validation and calibration; ingest more interactions, or rank without it (--llm none)"
        )
    rng = np.random.default_rng([config.seed, 3])
    repeats = min(MAX_REPEATS, -(-max_examples // len(split.training)))
    queries = (split.training.tolist() * repeats)[:max_examples]
    training = [training_example(ranker_examples, query, catalogue, rng, version=config.prompt) for query in queries]
    validation = [
        training_example(ranker_examples, query, catalogue, rng, hard=CANDIDATES - 1, version=config.prompt)
        for query in split.validation.tolist()
    ]
    staging, final = folder / STAGING_FOLDER, folder / RANKER_FOLDER
    if _is_trained(final, settings, config, training, validation):  # training is deterministic: the result would be the same
        card = {**adapters.read_card(final), **context.about}
        _write_card(final, card)  # the snapshot may be a new one with the same data
        return dict(card["figures"])
    if not _is_trained(staging, settings, config, training, validation):

        def report_step(at: finetune.TrainingProgress) -> None:
            context.progress(f"ranker, loss {at.loss:.3f}", at.step, at.total)

        finetune.train(training, validation, settings, staging, config, context.about, report_step)
    card = {**adapters.read_card(staging), **context.about}
    _write_card(staging, card)
    with storage_errors(f"the adapter in {final}"):
        replace_folder(staging, final)
    return dict(card["figures"])


def training_example(
    examples: RankerExamples,
    query: int,
    catalogue: Catalogue,
    rng: np.random.Generator,
    *,
    hard: int = HARD_NEGATIVES,
    version: int = RANK_PROMPT_VERSION,
) -> ListwiseExample:
    """Return one query as a listwise example: one purchased item, which comes first, and negatives.

    Args:
        examples: Queries with their candidates.
        query: Index of the query.
        catalogue: Catalogue of the items.
        rng: Generator that samples the items.
        hard: Number of negatives from the blend's best, if the purchase is among them; more where few items match its number of users.
        version: Version of the prompt.
    """
    candidates = examples.candidates(query)
    is_purchased = examples.purchased[candidates]
    purchases = np.flatnonzero(is_purchased)
    best_purchases = purchases[purchases < LLM_RERANK_DEPTH]
    has_best = len(best_purchases) > 0
    target = int(rng.choice(best_purchases if has_best else purchases))
    matched = np.flatnonzero(examples.matched[candidates] & ~is_purchased)
    matched = rng.permutation(matched)[: CANDIDATES - 1 - hard if has_best else CANDIDATES - 1]
    best = rng.permutation(np.flatnonzero(~is_purchased)[:LLM_RERANK_DEPTH])[: CANDIDATES - 1 - len(matched) if has_best else 0]
    chosen = np.concatenate([[target], best, matched]).astype(np.int64) + candidates.start
    return ListwiseExample(
        catalogue.records(examples.histories[query].tolist()),
        catalogue.records(examples.rows[chosen].tolist()),
        0,
        prompt_facts(examples, chosen, catalogue, version),
    )


def _is_trained(
    folder: Path, settings: Settings, config: FinetuneConfig, training: Sequence[ListwiseExample], validation: Sequence[ListwiseExample]
) -> bool:
    """Whether a folder has the adapter of these examples, configuration and base model."""
    try:
        card = adapters.read_card(folder)
    except CrossaisleError:
        return False
    settings_of_card = json.loads(json.dumps(asdict(config)))
    expected = (finetune.examples_digest(training, validation), settings_of_card, fingerprint(settings.llm, settings.home))
    return (card.get("examples_hash"), card.get("settings"), card.get("base_fingerprint")) == expected


def _write_card(adapter: Path, card: Mapping[str, Any]) -> None:
    with storage_errors(f"the adapter in {adapter}"):
        write_atomically(adapter / adapters.CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
