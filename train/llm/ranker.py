"""Trains the LLM ranker on a store's own users.

    pairs (`pair_examples`) -> LoRA (`train.lora.finetune`) -> adapter that knows what needs what
    queries -> split by user -> lists (`list_examples`) -> LoRA, from that adapter on -> adapter -> its weights (`weight`, `text_weight`)

Pairs are short and there are many of them, so they come first. The metrics are stored in the adapter's card. Users of the calibration part
of the split are kept for the weight. The adapter is moved into the workspace once it is trained; an interrupted run resumes from its last
checkpoint. Examples labelled by a teacher (`train.teacher`) are added to the store's pairs and to its lists.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import replace_folder, write_atomically
from ...data.errors import CrossaisleError, TrainingError, storage_errors
from ...llm.models import adapters
from ...llm.models.model_source import fingerprint
from ...recommend.ranking.llm_loading import RANKER_FOLDER
from ...recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from ...recommend.ranking.text_weight import PAIRS_KEY
from ..lora import finetune
from ..lora.finetune import FinetuneConfig, ListwiseExample
from .list_examples import TRAINING_DEPTH, list_example
from .pair_examples import PairExamples
from .ranker_examples import MAX_EXAMPLES, RankerExamples, behaviour_inputs, user_hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...retrieval.channels.base import TrainingContext
    from ...retrieval.items.catalogue import Catalogue

QUESTIONS_KEY = "questions"
"""Key of the adapter's card with the `RankerExamples.digest` that it was trained on."""
ELSEWHERE_KEY = "trained_elsewhere"
"""Key of the card of an adapter that was trained on another store: no user of this one is known to it."""
STAGING_FOLDER, PAIRS_FOLDER = "adapter-training", "adapter-training-pairs"
"""Folders where an adapter is trained, beside the one in use: on lists, and before on pairs."""
TEACHER_KEY = "teacher"
"""Key of the cards with what a teacher labelled."""
PAIR_PATIENCE = 1000
"""Validations without improvement at which training on pairs stops: never, since an epoch of pairs does not overfit, and on few validation
questions the best of several steps is mostly luck."""
MAX_REPEATS = 3
"""Largest number of examples of one query, each with other candidates, if there are fewer queries than requested examples."""
TRAINING_SHARE, VALIDATION_SHARE = 0.7, 0.1
"""Shares of the users for training and for early stopping; the others calibrate the weight."""
GOLDEN_RATIO = 0.6180339887498949
"""Distance of the splits of successive seeds: each has other users for measuring."""
VALIDATION_LIMITS = (8, 100)
"""Smallest and largest number of validation queries; in between an eighth of the training queries, because the LLM scores all of them
several times."""

NO_PAIRS = PairExamples((), ())


@dataclass(frozen=True)
class TeacherExamples:
    """Examples with the labels of a teacher.

    Attributes:
        pairs: Pairs for training and early stopping.
        lists: Lists for training.
        about: Entry of the card: the teacher, numbers, and under `hash` the hash of the labels.
    """

    pairs: PairExamples
    lists: Sequence[ListwiseExample]
    about: Mapping[str, Any]


NO_TEACHER = TeacherExamples(NO_PAIRS, (), {})


@dataclass(frozen=True)
class ExampleSplit:
    """Queries for training, early stopping and the weight of the LLM, as indices; no user is in two of them."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    calibration: NDArray[np.int64]

    @classmethod
    def sample(cls, examples: RankerExamples, max_training: int, seed: int) -> ExampleSplit:
        """Return a random split by user.

        Only queries with a purchase among the highest candidates are used: `TRAINING_DEPTH` for training, and those that the LLM reads for
        early stopping.

        Args:
            examples: Queries with their candidates.
            max_training: Largest number of training queries.
            seed: Random seed.
        """
        rng, uniform = np.random.default_rng([seed, 3]), user_uniforms(examples, seed)

        def draw(selected: NDArray[np.bool_], limit: int, depth: int) -> NDArray[np.int64]:
            informative = examples.informative(depth)
            return np.sort(rng.permutation(informative[selected[informative]])[:limit])

        training = draw(uniform < TRAINING_SHARE, max_training, TRAINING_DEPTH)
        max_validation = min(VALIDATION_LIMITS[1], max(VALIDATION_LIMITS[0], len(training) // 8))
        validation = draw((uniform >= TRAINING_SHARE) & (uniform < TRAINING_SHARE + VALIDATION_SHARE), max_validation, LLM_RERANK_DEPTH)
        return cls(training, validation, calibration_queries(examples, seed))


def training_split(examples: RankerExamples, max_training: int, seed: int) -> ExampleSplit:
    """Return `ExampleSplit.sample` if it has enough queries.

    Raises:
        TrainingError: There are too few.
    """
    split = ExampleSplit.sample(examples, max_training, seed)
    if len(split.training) < finetune.MIN_EXAMPLES or not len(split.validation) or not len(split.calibration):
        raise TrainingError(
            f"{len(split.training)} training queries are too few for the LLM ranker, it needs at least {finetune.MIN_EXAMPLES}, "
            "and some for validation and calibration; ingest more interactions, or rank without it (--llm none)"
        )
    return split


def user_uniforms(examples: RankerExamples, seed: int) -> NDArray[np.float64]:
    """Return (queries,) a random number from 0 to 1 of each query's user, which decides its part of the split."""
    if examples.user_hash is not None:
        return part_of_users(examples.user_hash, seed)
    return np.random.default_rng([seed, 2]).random(int(examples.user.max(initial=-1)) + 1)[examples.user]


def part_of_users(user_hash: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return (users,) the numbers that decide the users' parts of the split. Args: user_hash: (users,) as of `user_hashes`."""
    return np.asarray((user_hash + GOLDEN_RATIO * seed) % 1.0)


def training_users(user_ids: Iterable[str], seed: int) -> NDArray[np.bool_]:
    """Return (users,) which users the adapter with this seed may be trained on; on the others it is validated and measured."""
    return part_of_users(user_hashes(user_ids), seed) < TRAINING_SHARE


def calibration_queries(examples: RankerExamples, seed: int) -> NDArray[np.int64]:
    """Return the queries of users that an adapter with this seed was not trained on."""
    return np.flatnonzero(user_uniforms(examples, seed) >= TRAINING_SHARE + VALIDATION_SHARE)


def train_llm_ranker(
    folder: Path,
    settings: Settings,
    ranker_examples: RankerExamples | None,
    catalogue: Catalogue,
    context: TrainingContext,
    *,
    config: FinetuneConfig,
    max_examples: int = MAX_EXAMPLES,
    pairs: PairExamples = NO_PAIRS,
    teacher: TeacherExamples = NO_TEACHER,
) -> dict[str, Any]:
    """Train the ranking adapter of a workspace, store it, and return the metrics.

    Args:
        folder: Folder of the workspace.
        settings: Settings with the LLM.
        ranker_examples: Queries with their candidates; None for pairs alone.
        catalogue: Catalogue of the items.
        context: Card entries about the data, and progress. The seed is that of `config`.
        config: LoRA configuration.
        max_examples: Largest number of training examples; a query may be repeated with other candidates. 0 for pairs alone.
        pairs: Pairs to train on first, if they are enough.
        teacher: Further pairs and lists, with the labels of a teacher.

    Raises:
        TrainingError: There are too few users, the loss became NaN, or memory ran out.
        ModelError, ModelMissingError: The base model cannot be used or is not installed.
    """
    pairs = PairExamples([*pairs.training, *teacher.pairs.training], [*pairs.validation, *teacher.pairs.validation])
    has_pairs = len(pairs.training) >= finetune.MIN_EXAMPLES and len(pairs.validation) > 0
    about = {**context.about, QUESTIONS_KEY: None if ranker_examples is None else ranker_examples.digest}
    if has_pairs:
        about[PAIRS_KEY] = {"examples": len(pairs.training), "hash": finetune.examples_digest(pairs.training, pairs.validation)}
    if teacher.about:
        about[TEACHER_KEY] = dict(teacher.about)
    context = replace(context, about=about)
    pair_config, start = replace(config, patience=PAIR_PATIENCE), None
    if max_examples and ranker_examples is not None:
        config = replace(config, behaviour=behaviour_inputs(ranker_examples, config.prompt))
        training, validation = _lists(ranker_examples, max_examples, catalogue, config)
        training, start = [*training, *teacher.lists], folder / PAIRS_FOLDER if has_pairs else None
    elif has_pairs:
        training, validation, config = list(pairs.training), list(pairs.validation), pair_config
    else:
        raise TrainingError(
            f"{len(pairs.training)} pairs are bought together often enough to train the LLM on pairs alone; it needs "
            f"{finetune.MIN_EXAMPLES}, and some for validation; ingest more interactions"
        )
    staging, final = folder / STAGING_FOLDER, folder / RANKER_FOLDER
    # Training is deterministic: the result would be the same.
    if _is_trained(final, settings, config, training, validation, about):
        card = {**adapters.read_card(final), **context.about}
        _write_card(final, card)  # the snapshot may be a new one with the same data
        return dict(card["figures"])
    if start is not None:
        _train_in(start, pairs.training, pairs.validation, settings, pair_config, context, "pairs")
    _train_in(staging, training, validation, settings, config, context, "lists" if max_examples else "pairs", start)
    card = {**adapters.read_card(staging), **context.about}
    _write_card(staging, card)
    with storage_errors(f"the adapter in {final}"):
        replace_folder(staging, final)
        if start is not None:
            shutil.rmtree(start, ignore_errors=True)
    return dict(card["figures"])


def _lists(
    examples: RankerExamples, max_examples: int, catalogue: Catalogue, config: FinetuneConfig
) -> tuple[list[ListwiseExample], list[ListwiseExample]]:
    """The lists for training and for early stopping."""
    split, rng = training_split(examples, max_examples, config.seed), np.random.default_rng([config.seed, 3])
    repeats = min(MAX_REPEATS, -(-max_examples // len(split.training)))

    def example(query: int, generator: np.random.Generator | None) -> ListwiseExample:
        return list_example(examples, query, catalogue, generator, version=config.prompt, inputs=config.behaviour)

    training = [example(query, rng) for query in (split.training.tolist() * repeats)[:max_examples]]
    return training, [example(query, None) for query in split.validation.tolist()]


def _train_in(
    folder: Path,
    training: Sequence[ListwiseExample],
    validation: Sequence[ListwiseExample],
    settings: Settings,
    config: FinetuneConfig,
    context: TrainingContext,
    kind: str,
    start: Path | None = None,
) -> None:
    """Train an adapter in a folder, from `start` on if it is given, unless the folder already has it."""
    if _is_trained(folder, settings, config, training, validation, context.about):
        return

    def report_step(at: finetune.TrainingProgress) -> None:
        context.progress(f"ranker on {kind}, loss {at.loss:.3f}", at.step, at.total)

    finetune.train(training, validation, settings, folder, config, context.about, report_step, start=start)


def _is_trained(
    folder: Path,
    settings: Settings,
    config: FinetuneConfig,
    training: Sequence[ListwiseExample],
    validation: Sequence[ListwiseExample],
    about: Mapping[str, Any],
) -> bool:
    """Whether a folder has the adapter of these examples, pairs, labels of a teacher, configuration and base model."""
    try:
        card = adapters.read_card(folder)
    except CrossaisleError:
        return False
    settings_of_card = json.loads(json.dumps(asdict(config)))
    expected = (finetune.examples_digest(training, validation), settings_of_card, fingerprint(settings.llm, settings.home))
    same = (card.get("examples_hash"), card.get("settings"), card.get("base_fingerprint")) == expected
    return same and card.get(PAIRS_KEY) == about.get(PAIRS_KEY) and _labels_hash(card) == _labels_hash(about)


def _labels_hash(card: Mapping[str, Any]) -> str | None:
    """Hash of the teacher's labels that a card names."""
    value: str | None = (card.get(TEACHER_KEY) or {}).get("hash")
    return value


def _write_card(adapter: Path, card: Mapping[str, Any]) -> None:
    with storage_errors(f"the adapter in {adapter}"):
        write_atomically(adapter / adapters.CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
