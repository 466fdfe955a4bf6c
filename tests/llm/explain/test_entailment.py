"""The second reader: which label is which, what contradicts is not shown, and models that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.errors import ModelError, ModelMissingError
from crossaisle.data.records import Evidence
from crossaisle.llm.explain.entailment import LABELS, EntailmentModel
from crossaisle.llm.explain.explainer import Explainer
from crossaisle.llm.explain.reasons import Reason
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.retrieval.index.embedder import Embedder

FACTS = (Evidence("association", "14 of 120 shoppers who bought the Tent also bought the Stove", "tent", 3.1, "e1"),)


def cross_encoder(folder: Path, embedder: Embedder, likes: str = "", labels: tuple[str, ...] = LABELS) -> Path:
    """A cross-encoder of two layers with random weights and the bundled tokenizer. Args: likes: the label that it always gives."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokenizer = embedder._model.tokenizer
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)}, initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.BertForSequenceClassification(config)
    if likes:
        with torch.no_grad():
            model.classifier.bias[labels.index(likes)] += 100
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def reason() -> Reason:
    return Reason(
        "Stove", "Tent", True, None, FACTS, (f"{FACTS[0].text}.",), True, f"{FACTS[0].text}.", claim_evidence=("e1", "e1"), confident=True
    )  # fmt: skip


def test_chances_follow_the_names_of_the_labels_not_their_order(tmp_path: Path, embedder: Embedder) -> None:
    there = EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder)))
    turned = EntailmentModel.load(str(cross_encoder(tmp_path / "b", embedder, labels=("CONTRADICTION", "Entailment", "neutral"))))
    first, second = (one.probabilities("The tent is dry.", "The stove is hot.") for one in (there, turned))
    assert first.sum() == pytest.approx(1)
    # The same weights, so the same three scores, under other names.
    assert np.allclose(second, first[[1, 2, 0]], atol=1e-6)
    assert not np.allclose(first, there.probabilities("The stove is hot.", "The tent is dry."), atol=1e-6), (
        "the two texts are not told apart"
    )


def test_a_text_beyond_the_models_length_is_cut_at_the_evidence(tmp_path: Path, embedder: Embedder) -> None:
    there = EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder)))
    assert there.probabilities("dry tent " * 900, "The stove is hot.").sum() == pytest.approx(1)


@pytest.mark.parametrize(("likes", "shown"), [("entailment", "llm"), ("neutral", "llm"), ("contradiction", "evidence")])
def test_what_the_facts_contradict_is_not_shown(tmp_path: Path, embedder: Embedder, llm: LanguageModel, likes: str, shown: str) -> None:
    strict = Explainer(llm, entailment=EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder, likes))))
    (found,) = strict.explain([reason()])
    assert found.source == shown
    assert found.verified


def test_other_models_are_refused(tmp_path: Path, embedder: Embedder) -> None:
    with pytest.raises(ModelError, match="its labels are bad, good, not entailment, neutral, contradiction"):
        EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder, labels=("good", "bad"))))
    with pytest.raises(ModelMissingError, match="is neither a folder nor reachable: name another, or unset CROSSAISLE_NLI"):
        EntailmentModel.load("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ModelMissingError, ModelError), match="entailment model"):
        EntailmentModel.load(str(tmp_path / "empty"))
