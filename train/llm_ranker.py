"""Trains the LLM ranker on a store's own users, and fits its weight in the blend on users that it was not trained on.

    examples -> split by user -> prompts -> LoRA (`train.lora.finetune`) -> logit margins of the calibration users -> weight of the LLM

The metrics are stored in the adapter's card. The adapter is moved into the workspace once its weight is fitted; an interrupted run resumes
from its last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from ..recommend.ranking.llm_loading import CARD_KEY, RANKER_FOLDER
from ..recommend.ranking.llm_weight import LLM_RERANK_DEPTH, NO_LLM_WEIGHT, LLMScoredQuery, LLMWeight
from .lora import finetune
from .lora.finetune import FinetuneConfig, ListwiseExample
from .ranker_examples import MAX_EXAMPLES, RankerExamples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.settings import Settings
    from ..retrieval.channels.base import Progress, TrainingContext
    from ..retrieval.items.catalogue import Catalogue

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
VALIDATION_LIMITS, CALIBRATION_LIMITS = (8, 40), (16, 200)
"""Smallest and largest number of validation and of calibration queries; in between an eighth and a third of the training queries, because
the LLM scores all of them, the validation queries several times."""


@dataclass(frozen=True)
class ExampleSplit:
    """Queries for training, early stopping and calibration of the weight, as indices; no user is in two of them."""

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
        rng = np.random.default_rng([seed, 2])
        uniform = rng.random(int(examples.user.max(initial=-1)) + 1)[examples.user]
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
        max_validation, max_calibration = (
            min(largest, max(smallest, len(training) // divisor))
            for (smallest, largest), divisor in ((VALIDATION_LIMITS, 8), (CALIBRATION_LIMITS, 3))
        )
        validation = draw(~for_training & ~for_calibration & best_purchase, max_validation)
        calibration = draw(for_calibration & best_purchase, max_calibration)
        return cls(training, np.sort(validation), np.sort(calibration))


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
    """Train the ranking adapter of a workspace, fit its weight, store both, and return the metrics.

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
        if CARD_KEY in card:
            _write_card(final, card)  # the snapshot may be a new one with the same data
            return {**card["figures"], "vote": card[CARD_KEY]["weight"]}
    if not _is_trained(staging, settings, config, training, validation):

        def report_step(at: finetune.TrainingProgress) -> None:
            context.progress(f"ranker, loss {at.loss:.3f}", at.step, at.total)

        finetune.train(training, validation, settings, staging, config, context.about, report_step)
    users, scored = _score_queries(ranker_examples, split.calibration, catalogue, settings, staging, context.progress)
    weight, metrics = calibrate_llm_weight(scored, users, config.seed)
    card = adapters.read_card(staging)
    card |= {**context.about, CARD_KEY: asdict(weight), "figures": {**card["figures"], **metrics}}
    _write_card(staging, card)
    with storage_errors(f"the adapter in {final}"):
        replace_folder(staging, final)
    return {**card["figures"], "vote": weight.weight}


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
        _facts(examples, chosen, catalogue, version),
    )


def _facts(examples: RankerExamples, candidates: NDArray[np.int64] | slice, catalogue: Catalogue, version: int) -> Sequence[str]:
    """Sentences about candidates for a version of the prompt; the query's user does not count as a user of a purchased item."""
    users = catalogue.users[examples.rows[candidates]] - examples.purchased[candidates]
    ranks = examples.rank[candidates] + 1 if version >= RANK_PROMPT_VERSION else None
    return fact_sentences(examples.pair_counts[candidates], users, catalogue, ranks)


# ---------------------------------------------------------------------- weight of the LLM


def calibrate_llm_weight(scored: Sequence[LLMScoredQuery], users: NDArray[np.int64], seed: int) -> tuple[LLMWeight, dict[str, Any]]:
    """Return the weight of the LLM, and the NDCG@10 of the calibration queries without the LLM, with it, and by the LLM alone.

    The weight is 0 unless the confidence interval of the gain is above zero: every recommendation with the LLM costs its inference time.

    Args:
        scored: Calibration queries.
        users: (queries,) user numbers.
        seed: Random seed of the bootstrap.
    """
    if not scored:
        return NO_LLM_WEIGHT, {"judged": 0}
    weight = llm_weight.fit_llm_weight(scored)
    blend = _ndcg([query.scores for query in scored], scored)
    combined = _ndcg([query.scores + weight.contributions(query.logit_margins) for query in scored], scored)
    llm = _ndcg([query.logit_margins for query in scored], scored)
    gain = paired_difference(combined, blend, users, seed=seed)
    return weight if gain.low > 0 else NO_LLM_WEIGHT, {
        "judged": len(scored),
        "judged_blend_ndcg@10": round(float(blend.mean()), 4),
        "judged_with_llm_ndcg@10": round(float(combined.mean()), 4),
        "judged_llm_ndcg@10": round(float(llm.mean()), 4),
        "judged_gain": gain.to_dict(),
    }


def _ndcg(scores: Sequence[NDArray[np.floating]], scored: Sequence[LLMScoredQuery]) -> NDArray[np.float64]:
    """(queries,) NDCG@10 of rankings of the scored candidates."""
    hits = np.zeros((len(scored), LLM_RERANK_DEPTH), dtype=bool)
    for index, (values, query) in enumerate(zip(scores, scored, strict=True)):
        hits[index, : len(values)] = query.bought[np.argsort(-values, kind="stable")]
    return ndcg(hits, np.asarray([max(int(query.bought.sum()), 1) for query in scored]), 10)


def _score_queries(
    examples: RankerExamples, queries: NDArray[np.int64], catalogue: Catalogue, settings: Settings, adapter: Path, progress: Progress
) -> tuple[NDArray[np.int64], list[LLMScoredQuery]]:
    """The user numbers and the scores by the tuned LLM, quantized as in serving, of queries with a purchase among the blend's best."""
    ranker = Ranker(LanguageModel.load(settings, adapter))
    stage, users, scored = "calibrating the ranker", [], []
    for done, query in enumerate(queries.tolist()):
        progress(stage, done, len(queries))
        candidates = examples.candidates(query)
        best = slice(candidates.start, min(candidates.start + LLM_RERANK_DEPTH, candidates.stop))
        if examples.purchased[best].any():
            history, items = catalogue.records(examples.histories[query].tolist()), catalogue.records(examples.rows[best].tolist())
            logit_margins = ranker.scores(history, None, items, _facts(examples, best, catalogue, ranker.prompt.version))
            users.append(int(examples.user[query]))
            scored.append(LLMScoredQuery(examples.scores[best], logit_margins, examples.purchased[best]))
    progress(stage, len(queries), len(queries))
    return np.asarray(users, dtype=np.int64), scored


def _is_trained(
    folder: Path, settings: Settings, config: FinetuneConfig, training: Sequence[ListwiseExample], validation: Sequence[ListwiseExample]
) -> bool:
    """Whether a folder has the adapter of these examples, configuration and base model; it may lack its weight."""
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
