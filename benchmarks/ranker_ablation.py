"""What the LLM learns beside a blend: text, behaviour or both, with and without the residual loss, and how the gain grows with questions.

    python benchmarks/ranker_ablation.py NAME [--home FOLDER] [--questions 3000] [--curve 300 1000] [--variants both text ...] [--read 400]

NAME is a store of `benchmarks/stores.py`. Trains its blend with enough questions unless one with behaviour is in `--home`; then, for each
variant, an adapter on out-of-fold questions of some users, and reads questions of others: NDCG@10 of the blend, of the sum by weights
fitted to other users, of the LLM alone and of an oracle over the same candidates. Slices: questions whose purchases have at most two users,
and histories of at most three items. Interrupted runs resume. The results contain no item and no user.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from blend import SEED, _tell, copied
from record import write

import crossaisle
from crossaisle.data.errors import CrossaisleError
from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.eval.stats.bootstrap import paired_difference
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from crossaisle.retrieval.index.builder import load
from crossaisle.train import out_of_fold
from crossaisle.train.llm.list_examples import list_example
from crossaisle.train.llm.question_reading import ReadQuestions, read_questions
from crossaisle.train.llm.ranker import MAX_REPEATS, ExampleSplit
from crossaisle.train.llm.ranker_examples import RankerExamples, load_examples
from crossaisle.train.llm.weight import measured_weight, out_of_fold_ndcg
from crossaisle.train.lora import finetune
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.lora.listwise_loss import ListwiseExample
from crossaisle.train.pipeline import train_workspace
from crossaisle.train.questions import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from crossaisle.llm.ranking.packs import Pack
    from crossaisle.retrieval.items.catalogue import Catalogue

VARIANTS = ("both", "text", "tokens", "both alone", "text alone", "tokens alone")
"""What the LLM reads; `alone`: trained without the blend's scores in the loss."""
PROMPT = 4


def main() -> None:
    """Measure one store."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--questions", type=int, default=3000)
    parser.add_argument("--asked", type=int, default=4000, help="out-of-fold questions of a new blend, of all kinds")
    parser.add_argument("--curve", type=int, nargs="*", default=[])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS[:1]))
    parser.add_argument("--read", type=int, default=400)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write(f"ranker-ablation-{arguments.name}", measure(arguments.name, arguments.home or Path(temporary), arguments))


def measure(store: str, home: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and measure the variants of one store, and return the figures."""
    settings = Settings.read().with_(llm="smollm2")
    shop, examples = store_with_behaviour(store, home, settings, arguments.asked)
    catalogue, _, _ = load(shop, settings)
    split = ExampleSplit.sample(examples, arguments.questions, SEED)
    informative = examples.informative(LLM_RERANK_DEPTH)
    unseen = np.random.default_rng([SEED, 6]).permutation(np.intersect1d(informative, split.calibration))[: arguments.read]
    figures: dict[str, Any] = {
        "questions": len(examples),
        "informative": len(informative),
        "training": len(split.training),
        "read": len(unseen),
        "blocks": arguments.blocks,
        "lr": arguments.lr,
        "variants": {},
    }
    sizes = {variant: [arguments.questions] for variant in arguments.variants}
    sizes[arguments.variants[0]] = [*arguments.curve, arguments.questions]
    for variant, counts in sizes.items():
        for count in counts:
            start = time.perf_counter()
            folder = home / f"{store}-ablation" / f"{variant.replace(' ', '-')}-{count}"
            repeated = min(count, MAX_REPEATS * len(split.training))
            queries = np.resize(np.random.default_rng([SEED, 9]).permutation(split.training), repeated)
            report = train(examples, queries, split.validation, catalogue, settings, folder, variant, arguments)
            ranker = VariantRanker(LanguageModel.load(settings, folder), variant)
            measured = figures_of(read(examples, unseen, catalogue, ranker), examples, unseen, catalogue)
            trained = {
                "examples": len(queries),
                "questions": len(np.unique(queries)),
                "training": report,
                "seconds": round(time.perf_counter() - start),
            }
            figures["variants"].setdefault(variant, {})[str(count)] = trained | measured
            _tell(f"{variant} {count}: {measured['all']['gain']}", 0, 0)
    return figures


def store_with_behaviour(store: str, home: Path, settings: Settings, asked: int) -> tuple[crossaisle.Workspace, RankerExamples]:
    """A store with a trained blend whose questions have behaviour."""
    path = home / f"{store}-trained"
    try:
        examples = load_examples(path)
    except CrossaisleError:
        examples = None
    if examples is None or examples.behaviour is None:
        out_of_fold.MAX_QUERIES_PER_KIND = asked // len(KINDS)
        train_workspace(copied(store, home), settings, Split(seed=SEED), part="blend", progress=_tell)
        examples = load_examples(path)
    return crossaisle.Workspace(path), examples


def train(
    examples: RankerExamples,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    catalogue: Catalogue,
    settings: Settings,
    folder: Path,
    variant: str,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Train an adapter of one variant, and return what its card says of the training."""
    assert examples.behaviour is not None
    inputs = None if variant.startswith("text") else examples.behaviour.inputs
    config = FinetuneConfig(
        rank=16, alpha=32, blocks=arguments.blocks or None, lr=arguments.lr, prompt=PROMPT, behaviour=inputs, seed=SEED, patience=99,
        validate_every=max(25, len(training) // 16),
    )  # fmt: skip
    rng = np.random.default_rng([SEED, 3])

    def example(query: int, generator: np.random.Generator | None) -> ListwiseExample:
        made = list_example(examples, query, catalogue, generator, version=PROMPT, inputs=inputs)
        made = made if not variant.endswith("alone") or generator is None else replace(made, scores=None)
        return without_text(made) if variant.startswith("tokens") else made

    made = [example(query, rng) for query in training.tolist()]
    report = finetune.train(
        made, [example(query, None) for query in validation.tolist()], settings, folder, config,
        progress=lambda at: _tell(f"{variant}: step {at.step} of {at.total}, loss {at.loss:.4f}", 0, 0) if at.step % 25 == 0 else None,
    )  # fmt: skip
    return report.figures()


def without_text(example: ListwiseExample) -> ListwiseExample:
    """The example without history and titles."""
    return replace(example, history=[], candidates=[nameless(item) for item in example.candidates])


def nameless(item: Item) -> Item:
    return Item(item.item_id, "", ())


class VariantRanker(Ranker):
    """A ranker that reads what its variant was trained on."""

    def __init__(self, llm: LanguageModel, variant: str) -> None:
        super().__init__(llm)
        self.variant = variant

    def encode(self, history: Sequence[Item], need: str | None, candidates: Sequence[Item], *others: Any) -> Pack:
        """Return the token ids, without texts if the variant has none."""
        if self.variant.startswith("tokens"):
            history, candidates = [], [nameless(item) for item in candidates]
        return super().encode(history, need, candidates, *others)


def read(examples: RankerExamples, questions: NDArray[np.int64], catalogue: Catalogue, ranker: Ranker) -> ReadQuestions:
    """Let a model read all of the questions."""
    version = ranker.prompt.version
    return read_questions(
        examples, questions, catalogue, ranker, prompt_version=version, depth=LLM_RERANK_DEPTH, seconds=1e9, progress=_tell
    )


def figures_of(read: ReadQuestions, examples: RankerExamples, questions: NDArray[np.int64], catalogue: Catalogue) -> dict[str, Any]:
    """The figures of all questions and of the slices, by weights fitted to other users' questions."""
    blend, combined = out_of_fold_ndcg(read, SEED)
    fewest = np.asarray([_fewest_users(examples, question, catalogue) for question in questions.tolist()])
    slices: Mapping[str, NDArray[np.bool_]] = {
        "all": np.ones(len(questions), dtype=bool),
        "purchases of at most two users": fewest <= 2,
        "histories of at most three items": examples.histories.lengths[questions] <= 3,
    }
    measured = measured_weight(read, depth=LLM_RERANK_DEPTH, seed=SEED)
    kept = ("weight", "smallest_detectable_gain", "ms_per_question", "tokens_per_question")
    return {
        name: {
            "questions": int(inside.sum()),
            "blend": round(float(blend[inside].mean()), 5) if inside.any() else None,
            "gain": paired_difference(combined[inside], blend[inside], read.users[inside], seed=SEED).to_dict()
            if inside.sum() > 1
            else None,
        }
        for name, inside in slices.items()
    } | {
        **{name: measured[name] for name in kept},
        "ndcg@10": {name.split(" over ")[0]: value for name, value in measured["ndcg@10"].items()},
    }


def _fewest_users(examples: RankerExamples, question: int, catalogue: Catalogue) -> int:
    """Users of the rarest purchase among the candidates that are read, the question's own user not counted."""
    read = examples.candidates(question)
    read = slice(read.start, min(read.start + LLM_RERANK_DEPTH, read.stop))
    rows = examples.rows[read][examples.purchased[read]]
    return int(catalogue.users[rows].min()) - 1


if __name__ == "__main__":
    main()
