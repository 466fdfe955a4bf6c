"""Classification of substitutes and complements against people: labels of three annotators, and human-made bundles.

    python benchmarks/substitutes.py

- `labels`: 2,800 item pairs of a Japanese office supplier, each labelled by three people as substitute, complement or neither. Without
  categories, so only text similarity is measured. Thresholds are fitted on the pairs of one half of the first items and measured on the
  other half; the similarity measures were chosen with both halves in view. The kappa between annotators is the ceiling.
- `bundles`: pairs within human-made bundles, with category paths. A rule that calls such a pair substitutes loses it. This is no clean
  error rate, since a bundle may be a collection of one kind (watches of different styles); figures are given as well for bundles whose
  intent names no variety, and for those across several leaf categories. Recall of substitutes cannot be measured on bundles, only the
  share of pairs within a leaf category that is called substitutes, beside a cosine threshold with the same share. Pairs within a leaf
  category are sampled evenly, so large categories weigh most. No store here has views: that rule is not measured.

Intervals are 95 %, from 2,000 bootstrap resamples of items (labels) or bundles.
"""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from record import SHARED, write
from scipy import sparse
from scipy.stats import rankdata

from crossaisle.retrieval.associations.substitutes import ALIKE, MIN_NAME_SIMILARITY, Substitutes
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.category_tree import CategoryTree
from crossaisle.retrieval.items.texts import item_texts

DRAWS = 2000
VARIETY = r"(?i)different|differnt|style|styles|various|variety|collection|kinds? of|types? of|assort|same|similar|choice"
"""Intents of bundles that are a choice of alternatives, or one thing several times."""


def table(items: dict[str, tuple[str, tuple[str, ...]]]) -> pl.DataFrame:
    """A snapshot's items of titles and paths."""
    return pl.DataFrame(
        [(key, html.unescape(title or ""), list(path), "", None) for key, (title, path) in items.items()],
        schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String), "description": pl.String, "brand": pl.String},
        orient="row",
    )


def cosine(vectors: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("id,id->i", vectors[left], vectors[right])


def kappa(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Cohen's kappa of two yes-or-no labellings."""
    by_chance = ours.mean() * theirs.mean() + (1 - ours.mean()) * (1 - theirs.mean())
    return float(((ours == theirs).mean() - by_chance) / (1 - by_chance)) if by_chance < 1 else 0.0


def auc(score: np.ndarray, yes: np.ndarray) -> float:
    rank, n = rankdata(score), yes.sum()
    return float((rank[yes].sum() - n * (n + 1) / 2) / (n * (~yes).sum()))


def interval(figure: Callable[[np.ndarray], float], group: np.ndarray) -> dict[str, float]:
    """A figure of rows with a cluster bootstrap interval."""
    draw = np.random.default_rng(0)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    values = [figure(np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))])) for _ in range(DRAWS)]
    value, low, high = figure(np.arange(len(group))), *np.nanquantile(values, [0.025, 0.975])
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def labels(embedder: Embedder) -> dict[str, Any]:
    """Against three annotators."""
    rows = pl.read_csv(SHARED / "fbl" / "FBL2023.tsv", separator="\t", quote_char=None, infer_schema_length=0)
    votes = rows.select(pl.col(f"ANNOTATOR{i}_LABEL").cast(pl.Int64).fill_null(0) for i in (1, 2, 3)).to_numpy()
    items = table({u: (n, ()) for i in (1, 2) for u, n in rows.select(f"ITEM_URL_{i}", f"ITEM_NAME_{i}").iter_rows()})
    place = {key: i for i, key in enumerate(items["item_id"])}
    left, right = (np.asarray([place[url] for url in rows[f"ITEM_URL_{i}"]]) for i in (1, 2))
    vectors = embedder.encode(item_texts(items).to_list())
    rule = Substitutes.build(items, CategoryTree.build(items), vectors)
    substitute = (votes == 1).sum(axis=1) >= 2
    complement = ((votes >= 2) & (votes <= 7)).sum(axis=1) >= 2
    held_out = np.asarray([zlib.crc32(url.encode()) % 2 == 1 for url in rows["ITEM_URL_1"]])

    name, cos = rule.name_similarity(left, right), cosine(vectors, left, right)
    scores = {"name and cosine": (name + cos) / 2, "name alone": name, "cosine alone": cos}
    grid = np.linspace(0.2, 0.95, 151)
    fitted = {kind: float(max(grid, key=lambda at: kappa(score[~held_out] >= at, substitute[~held_out]))) for kind, score in scores.items()}
    decided = {
        "shipped": rule.label(left, right),
        "shipped without vectors": Substitutes.build(items, CategoryTree.build(items)).label(left, right),
        "cosine alone": cos >= fitted["cosine alone"],
        "never": np.zeros(len(left), dtype=bool),
    }

    kept = np.flatnonzero(held_out)
    group, sub, com, vote = left[kept], substitute[kept], complement[kept], votes[kept]

    def among(rows_: np.ndarray, ours: np.ndarray | None) -> float:
        """The mean kappa of the annotators two by two, or of a rule with each."""
        pairs = combinations(range(3), 2) if ours is None else ((i, i) for i in range(3))
        found = []
        for i, j in pairs:
            given = rows_[(vote[rows_, i] > 0) & (vote[rows_, j] > 0)]
            found.append(kappa((vote[given, i] == 1) if ours is None else ours[given], vote[given, j] == 1))
        return float(np.mean(found))

    def share(of: np.ndarray, where: np.ndarray, rows_: np.ndarray) -> float:
        inside = rows_[where[rows_]]
        return float(of[inside].mean()) if len(inside) else float("nan")

    known = sub | com
    figures: dict[str, Any] = {
        "pairs": {
            "fitted_on": int((~held_out).sum()),
            "measured_on": len(kept),
            "substitutes": int(sub.sum()),
            "complements": int(com.sum()),
        },
        "threshold": {
            "fitted": {k: round(v, 3) for k, v in fitted.items()},
            "shipped": ALIKE,
            "shipped_without_vectors": MIN_NAME_SIMILARITY,
        },
        "kappa_among_annotators": interval(lambda r: among(r, None), group),
        "auc": {
            kind: {
                "substitute_or_complement": interval(lambda r, s=s: auc(s[kept][r[known[r]]], sub[r[known[r]]]), group),
                "substitute_or_any_other": interval(lambda r, s=s: auc(s[kept][r], sub[r]), group),
            }
            for kind, s in scores.items()
        },
        "rules": {},
    }
    for system, all_ours in decided.items():
        ours = all_ours[kept]
        measured: dict[str, Any] = {
            "kappa_with_each_annotator": interval(lambda r, o=ours: among(r, o), group),
            "kappa_with_majority": interval(lambda r, o=ours: kappa(o[r], sub[r]), group),
            "recall": interval(lambda r, o=ours: share(o, sub, r), group),
            "complements_called_substitutes": interval(lambda r, o=ours: share(o, com, r), group),
        }
        if ours.any():
            measured["precision"] = interval(lambda r, o=ours: share(sub, o, r), group)
        figures["rules"][system] = measured
    a, b = decided["shipped"][kept], decided["shipped without vectors"][kept]
    figures["kappa_gained_by_vectors"] = interval(lambda r: kappa(a[r], sub[r]) - kappa(b[r], sub[r]), group)
    return figures | {"cosine_threshold": fitted["cosine alone"]}


def path_of(text: str) -> tuple[str, ...]:
    """The deepest of the paths that an item is filed under; a comma before a blank belongs to a name."""
    return max((tuple(re.split(r",(?! )", path)) for path in text.strip("[]").split("],[")), key=len)


def bundles(name: str, embedder: Embedder, cosine_from: float) -> dict[str, Any]:
    """Against human-made bundles."""

    def read(file: str) -> list[tuple[str, ...]]:
        return pl.read_csv(SHARED / "bundles" / name / file, infer_schema_length=0).rows()

    titles, paths, intents = dict(read("item_titles.csv")), dict(read("item_categories.csv")), dict(read("bundle_intent.csv"))  # type: ignore[arg-type]
    items = table({key: (title, path_of(paths[key])) for key, title in titles.items() if key in paths})
    place = {key: i for i, key in enumerate(items["item_id"])}
    content: dict[str, set[int]] = {}
    for bundle, item in read("bundle_item.csv"):
        if item in place:
            content.setdefault(bundle, set()).add(place[item])
    bundled = [(int(bundle), a, b) for bundle, rows in content.items() for a, b in combinations(sorted(rows), 2)]
    group, left, right = np.asarray(bundled).T

    categories = CategoryTree.build(items)
    by_text, by_title = embedder.encode(item_texts(items).to_list()), embedder.encode(items["title"].to_list())
    rule = Substitutes.build(items, categories, by_text)
    shelf = rule.shelf
    systems: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "shipped": rule.label,
        "shipped without vectors": Substitutes.build(items, categories).label,
        "shipped without shelves": rule.similar_text,
        "same shelf alone": lambda a, b: shelf[a] == shelf[b],
        "cosine alone": lambda a, b: cosine(by_title, a, b) >= cosine_from,
        "never": lambda a, _: np.zeros(len(a), dtype=bool),
    }

    draw = np.random.default_rng(0)
    member = sparse.csr_array((np.ones(len(shelf), np.int8), (np.arange(len(shelf)), shelf)), shape=(len(shelf), len(categories)))
    mates = sparse.coo_array(sparse.triu(member @ member.T, k=1))
    chosen = draw.choice(mates.nnz, min(5000, mates.nnz), replace=False)
    similar = by_title @ by_title.T
    np.fill_diagonal(similar, -1)
    nearest = np.unique(np.sort(np.stack([np.arange(len(similar)), similar.argmax(axis=1)], axis=1), axis=1), axis=0)
    together = {(a, b) for _, a, b in bundled}
    plain = np.asarray([not re.search(VARIETY, intents.get(str(bundle)) or "") for bundle in group])
    same = shelf[left] == shelf[right]
    spans = np.isin(group, [int(bundle) for bundle, rows in content.items() if len(set(shelf[list(rows)])) > 1])
    sets: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {
        "bundled": (left, right, group),
        "bundled, intent names no variety": (left[plain], right[plain], group[plain]),
        "bundled, bundle spans shelves": (left[spans], right[spans], group[spans]),
        "bundled, same shelf": (left[same], right[same], group[same]),
        "random, same shelf": (mates.coords[0][chosen], mates.coords[1][chosen], np.arange(len(chosen))),
        "nearest titles": (nearest[:, 0], nearest[:, 1], np.arange(len(nearest))),
    }
    similarity = cosine(by_title, *sets["random, same shelf"][:2])
    as_often = float(np.quantile(similarity, 1 - rule.label(*sets["random, same shelf"][:2]).mean()))
    systems["cosine alone, calling as many random pairs of a shelf"] = lambda a, b: cosine(by_title, a, b) >= as_often
    figures: dict[str, Any] = {
        "items": len(items),
        "same_shelf_bundled_pairs_of_bundles_of_one_shelf": round(float((~spans[same]).mean()), 4),
        "same_shelf_bundled_pairs_whose_intent_names_variety": round(float((~plain[same]).mean()), 4),
        "bundles": len(content),
        "nearest_titles_that_are_bundled": round(float(np.mean([(a, b) in together for a, b in nearest.tolist()])), 4),
        "called_substitutes": {},
    }
    for kind, (a, b, by) in sets.items():
        figures["called_substitutes"][kind] = {"pairs": len(a), "same_shelf": round(float((shelf[a] == shelf[b]).mean()), 4)} | {
            system: interval(lambda r, c=called: float(c[r].mean()), by) for system, called in ((s, f(a, b)) for s, f in systems.items())
        }
    # Bundled pairs, by title alone: does likeness see which of them stand on one shelf? The nearest thing to a label in English.
    liked, cos = rule.name_similarity(left, right), cosine(by_title, left, right)
    figures["auc_of_likeness_for_same_shelf_among_bundled"] = {
        kind: interval(lambda r, s=score: auc(s[r], same[r]), group)
        for kind, score in {"name and cosine": (liked + cos) / 2, "name alone": liked, "cosine alone": cos}.items()
    }
    return figures


def main() -> None:
    embedder = Embedder()
    labelled = labels(embedder)
    from_ = labelled.pop("cosine_threshold")
    write("substitutes", {"labels": labelled, "bundles": {name: bundles(name, embedder, from_) for name in ("electronic", "clothing")}})


if __name__ == "__main__":
    main()
