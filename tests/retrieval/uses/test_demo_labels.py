"""The uses of the demo store against labels by hand (`tests/fixtures/demo_use_labels.tsv`): every mined sentence was read."""

from __future__ import annotations

import csv

from crossaisle.data.workspace import Workspace
from crossaisle.retrieval.uses.store import NEAR, read_uses

from ...conftest import ROOT

LABELS = ROOT / "tests" / "fixtures" / "demo_use_labels.tsv"
MIN_PRECISION = 0.85
MIN_USES = 60


def test_precision_by_hand(demo_workspace: Workspace) -> None:
    """A sentence without a label counts as wrong: read it and add it to the file."""
    with LABELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    right = {(row["item_id"], row["sentence"], row["use"]) for row in rows if row["label"] == "yes"}
    uses = read_uses(demo_workspace).uses
    mined = [(sentence.item_id, sentence.sentence, use.name) for use in uses for sentence in use.sentences if sentence.source != NEAR]
    assert sum(row["label"] == "no" for row in rows) > 40
    assert len(mined) > 200
    assert sum(key in right for key in mined) / len(mined) >= MIN_PRECISION
    assert len(uses) >= MIN_USES


def test_each_sentence_is_verbatim(demo_workspace: Workspace) -> None:
    items, reviews = demo_workspace.table("items"), demo_workspace.table("reviews")
    texts = {item: f"{title}\n{description}" for item, title, description in items.select("item_id", "title", "description").iter_rows()}
    for item, text in reviews.select("item_id", "text").iter_rows():
        texts[item] += f"\n{text}"
    for use in read_uses(demo_workspace).uses:
        for sentence in use.sentences:
            assert sentence.sentence in texts[sentence.item_id]
