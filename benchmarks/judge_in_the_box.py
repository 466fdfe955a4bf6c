"""The small judge beside what it must be better than, on categories it never saw and on what people said.

    python benchmarks/judge_in_the_box.py [--adapter FOLDER] [--train] [--ship] [--questions 600]

`--train` trains an adapter first (`crossaisle train judge`); `--ship` makes it the one that the package ships, if it is better than both
baselines with the interval of the difference above zero. Both baselines: always the commonest label; and the cosine of the bundled MiniLM
with thresholds fitted to what the judge learned from, or, which is more than the judge has, to half of the people's labels. Everything is
resampled by group of items, or by first item. Reads ../shared/data fbl, intentionqa and xrec where they are; quotes nothing of them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import SHARED, write

from crossaisle.data.settings import Settings
from crossaisle.eval import boxed, human_labels
from crossaisle.eval.agreement import cohen_kappa, majority
from crossaisle.eval.boxed import Thresholds, likeness
from crossaisle.eval.calibration import calibrate, label_matrix
from crossaisle.eval.human_labels import Labelled
from crossaisle.eval.intervals import Interval, bootstrap, paired
from crossaisle.eval.judging_lessons import train_judge
from crossaisle.eval.judging_pairs import pairs
from crossaisle.eval.judging_support import sentences
from crossaisle.llm import adapters, embedded
from crossaisle.llm.judge_box import BoxedJudge
from crossaisle.llm.judging import RELATIONS
from crossaisle.llm.models import LanguageModel, fingerprint
from crossaisle.retrieval.embedder import Embedder

Floats = NDArray[np.float64]
TEST_FACTS = 100
"""Sets of facts, with four sentences each."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapter", type=Path, default=embedded.JUDGE)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--questions", type=int, default=300)
    arguments = parser.parse_args()
    settings = Settings.read().with_(llm=embedded.NAME)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.adapter
        if arguments.train:
            folder = Path(temporary) / "adapter"
            train_judge(settings, folder)
        judge, embedder = BoxedJudge.load(settings, folder), Embedder()
        figures |= measured(judge, embedder, arguments.questions)
        figures["adapter_bytes"] = (folder / adapters.WEIGHTS).stat().st_size
        figures["relation_in_4_bits"] = in_4_bits(settings, folder)
        figures["training"] = adapters.read_card(folder)["figures"]
        figures["ship"] = ship = better(figures)
        if arguments.ship and ship and folder != embedded.JUDGE:
            shutil.rmtree(embedded.JUDGE, ignore_errors=True)
            shutil.copytree(folder, embedded.JUDGE, ignore=shutil.ignore_patterns("*.lock", "checkpoint*"))
    write("judge-in-the-box", figures)


def in_4_bits(settings: Settings, folder: Path) -> dict[str, Any]:
    """What rounding the base to 4 bits costs, on the same pairs."""
    llm = LanguageModel.load(settings.with_(quantization="nf4"))
    llm.add_judge(folder, fingerprint(settings.llm, settings.home))
    tested = [
        (page, second, label) for page in pairs("test", 0, dressed=False) for second, label in zip(page.seconds, page.answers, strict=True)
    ]
    chosen = BoxedJudge(llm).relations([(page.first, second) for page, second, _ in tested]).argmax(axis=1)
    right = (chosen == [label for _, _, label in tested]).astype(float)
    return bootstrap(right, np.asarray([page.cluster for page, _, _ in tested])).to_dict()


def better(figures: dict[str, Any]) -> bool:
    """Whether it is better than both baselines, with the intervals above zero: at both questions on held-out categories, and at which of
    four products people bought with an item, where their answers are."""
    found = [figures[part][f"against_{other}"]["low"] for part in ("relation", "support") for other in ("constant", "similarity")]
    if "people" in figures:
        told = figures["people"]["intentionqa"]["similarity"]
        found += [told[other]["judge_less_this"]["low"] for other in ("likest", "constant")]
    return min(found) > 0


def measured(judge: BoxedJudge, embedder: Embedder, questions: int) -> dict[str, Any]:
    """All figures of a judge."""
    found: dict[str, Any] = {}
    learned = [(one.first, second, label) for one in pairs("learning", 0) for second, label in zip(one.seconds, one.answers, strict=True)]
    fitted = Thresholds.fitted(likeness(embedder, [pair[:2] for pair in learned]), np.asarray([pair[2] for pair in learned]), 3)
    tested = [
        (one.first, second, label, one.cluster)
        for one in pairs("test", 0, dressed=False)
        for second, label in zip(one.seconds, one.answers, strict=True)
    ]
    titles = [pair[:2] for pair in tested]
    start = time.perf_counter()
    chances = judge.relations(titles)
    found["pairs_per_second"] = round(len(titles) / (time.perf_counter() - start), 1)
    labels, clusters = (np.asarray([pair[place] for pair in tested]) for place in (2, 3))
    alike = likeness(embedder, titles)
    found["relation"] = beside(chances, fitted.answer(alike), labels, clusters)
    found["relation_mixed"] = mixed(judge, embedder, chances, alike, fitted, labels, clusters)
    found["relation"]["by_label"] = {
        name: bootstrap((chances.argmax(axis=1) == place)[labels == place].astype(float), clusters[labels == place]).to_dict()
        for place, name in enumerate(RELATIONS)
    }
    found["relation"]["order"] = turned(judge, titles, chances, clusters)
    found["support"] = supported(judge, embedder)
    if (SHARED / "fbl").is_dir():
        found["people"] = people(judge, embedder, fitted, questions)
    return found


def beside(chances: Floats, similarity: Floats, labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy of a judge and of both baselines, kappa, and the differences."""
    chosen = chances.argmax(axis=1)
    constant = np.full(len(labels), np.bincount(labels).argmax())
    right = {name: (said == labels).astype(float) for name, said in (("judge", chosen), ("similarity", similarity), ("constant", constant))}
    return {
        "questions": len(labels),
        "clusters": len(np.unique(clusters)),
        **{name: bootstrap(values, clusters).to_dict() for name, values in right.items()},
        "kappa": cohen_kappa(chosen.astype(float), labels.astype(float), clusters).to_dict(),
        "kappa_similarity": cohen_kappa(np.asarray(similarity, float), labels.astype(float), clusters).to_dict(),
        "against_similarity": paired(right["judge"], right["similarity"], clusters).to_dict(),
        "against_constant": paired(right["judge"], right["constant"], clusters).to_dict(),
    }


def mixed(
    judge: BoxedJudge,
    embedder: Embedder,
    chances: Floats,
    alike: Floats,
    fitted: Thresholds,
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
) -> dict[str, Any]:
    """A remedy that was tried: chances and likeness together, by a softmax regression fitted to the validation categories."""
    from scipy.optimize import minimize

    kept = [
        (one.first, second, label)
        for one in pairs("validation", 0, dressed=False)
        for second, label in zip(one.seconds, one.answers, strict=True)
    ]
    titles, said = [one[:2] for one in kept], np.asarray([one[2] for one in kept])

    def features(own: Floats, near: Floats) -> Floats:
        return np.column_stack([np.ones(len(near)), np.log(own + 1e-6), 5 * near, 5 * near**2])

    known = features(judge.relations(titles), likeness(embedder, titles))

    def loss(flat: Floats) -> float:
        scores = known @ flat.reshape(known.shape[1], 3)
        scores -= scores.max(axis=1, keepdims=True)
        sure = scores[np.arange(len(said)), said] - np.log(np.exp(scores).sum(axis=1))
        return float(-sure.mean() + 0.01 * (flat**2).sum())

    best = minimize(loss, np.zeros(known.shape[1] * 3)).x.reshape(-1, 3)
    return beside(features(chances, alike) @ best, fitted.answer(alike), labels, clusters)


def turned(judge: BoxedJudge, titles: list[tuple[str, str]], chances: Floats, clusters: NDArray[np.int64]) -> dict[str, Any]:
    """How often the answer changes when the two items are named the other way round."""
    other = judge.relations([(second, first) for first, second in titles])
    return bootstrap((other.argmax(axis=1) != chances.argmax(axis=1)).astype(float), clusters).to_dict()


def supported(judge: BoxedJudge, embedder: Embedder) -> dict[str, Any]:
    """The figures of sentences beside facts."""
    told: dict[str, Any] = {}
    for part, count in (("learning", TEST_FACTS), ("test", TEST_FACTS)):
        made = sentences(part, 1, count)  # type: ignore[arg-type]  # a part
        told[part] = [
            (one.facts, said, label, fault, one.cluster)
            for one in made
            for said, label, fault in zip(one.sentences, one.answers, one.faults, strict=True)
        ]
    alike = {part: likeness(embedder, [(" ".join(one[0]), one[1]) for one in rows]) for part, rows in told.items()}
    fitted = Thresholds.fitted(alike["learning"], np.asarray([one[2] for one in told["learning"]]), 2)
    tested = told["test"]
    chances = judge.supports([one[:2] for one in tested])
    labels, clusters = (np.asarray([one[place] for one in tested]) for place in (2, 4))
    faults = np.asarray([one[3] for one in tested])
    found = beside(chances, fitted.answer(alike["test"]), labels, clusters)
    right = (chances.argmax(axis=1) == labels).astype(float)
    found["by_fault"] = {
        str(fault): {**bootstrap(right[faults == fault], clusters[faults == fault]).to_dict(), "sentences": int((faults == fault).sum())}
        for fault in np.unique(faults)
    }
    return found


def people(judge: BoxedJudge, embedder: Embedder, fitted: Thresholds, questions: int) -> dict[str, Any]:
    """The figures of questions that people answered."""
    found: dict[str, Any] = {}
    for folder, task in (("fbl", "relation"), ("intentionqa", "which"), ("xrec", "mismatch")):
        every = human_labels.read(SHARED / folder)[task]  # type: ignore[index]  # a task
        chosen = np.sort(np.random.default_rng(0).permutation(len(every))[:questions])
        # Questions in a row about the same item are read together.
        cases = sorted((every[i] for i in chosen.tolist()), key=lambda case: case.cluster)
        answers = boxed.answers(judge, cases)
        told = calibrate(cases, answers).to_dict()
        told["similarity"] = similar(embedder, cases, answers, fitted)
        found[folder] = told
    return found


def similar(embedder: Embedder, cases: list[Labelled], answers: Floats, fitted: Thresholds) -> dict[str, Any]:
    """Text similarity on the same questions, and the judge against it."""
    ratings, clusters = label_matrix(cases)
    most = majority(ratings)
    ours = answers.argmax(axis=1)
    said: dict[str, Floats] = {}
    if cases[0].task == "which":
        pairs_of = [(case.parts["first"], option) for case in cases for option in case.options]
        cosines, start, best = likeness(embedder, pairs_of), 0, []
        for case in cases:
            best.append(int(cosines[start : start + len(case.options)].argmax()))
            start += len(case.options)
        said["likest"] = np.asarray(best, float)
    else:
        keys = ("first", "second") if cases[0].task == "relation" else ("user", "explanation")
        alike = likeness(embedder, [(case.parts[keys[0]], case.parts[keys[1]]) for case in cases])
        if cases[0].task == "relation":
            said["fitted_to_lessons"] = fitted.answer(alike)
        half, known = clusters % 2 == 0, ~np.isnan(most)
        own = np.zeros(len(cases))
        for part in (half, ~half):
            own[part] = Thresholds.fitted(alike[~part & known], most[~part & known].astype(int), len(cases[0].options)).answer(alike[part])
        said["fitted_to_people"] = own
    common = np.full(len(cases), float(np.bincount(most[~np.isnan(most)].astype(int)).argmax()))
    found: dict[str, Any] = {}
    for name, values in (*said.items(), ("constant", common)):
        right = np.where(np.isnan(most), np.nan, values == most)
        found[name] = {
            "accuracy": bootstrap(right, clusters).to_dict(),
            "kappa": shown(cohen_kappa(values, most, clusters)),
            "judge_less_this": paired(np.where(np.isnan(most), np.nan, ours == most), right, clusters).to_dict(),
            "judge_less_this_kappa": difference(ours.astype(float), values, most, clusters),
        }
    return found


def difference(ours: Floats, theirs: Floats, most: Floats, clusters: NDArray[np.int64]) -> dict[str, Any]:
    """Kappa of the judge less kappa of another, with its interval by the same resamples."""
    draw, names = np.random.default_rng(0), np.unique(clusters)
    rows = {name: np.flatnonzero(clusters == name) for name in names.tolist()}
    drawn = []
    for _ in range(300):
        at = np.concatenate([rows[name] for name in draw.choice(names, len(names)).tolist()])
        drawn.append(plain_kappa(ours[at], most[at]) - plain_kappa(theirs[at], most[at]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(plain_kappa(ours, most) - plain_kappa(theirs, most), float(low), float(high)).to_dict()


def plain_kappa(left: Floats, right: Floats) -> float:
    """Cohen's kappa; 0 where one of them says the same always."""
    told = ~np.isnan(left) & ~np.isnan(right)
    left, right = left[told], right[told]
    values = np.unique([*left, *right])
    seen = float((left == right).mean())
    chance = float(sum((left == value).mean() * (right == value).mean() for value in values))
    return (seen - chance) / (1 - chance) if chance < 1 else 0.0


def shown(value: Interval) -> dict[str, float | None]:
    """An interval as JSON has it."""
    return value.to_dict()


if __name__ == "__main__":
    main()
