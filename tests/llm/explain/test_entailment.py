"""The entailment check: order of labels, truncation, rejected sentences and unsupported models."""

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


def cross_encoder(folder: Path, embedder: Embedder, favorite: str = "", labels: tuple[str, ...] = LABELS) -> Path:
    """Write a cross-encoder with two layers, random weights and the bundled tokenizer. Args: favorite: the label that it always predicts."""
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
    if favorite:
        with torch.no_grad():
            model.classifier.bias[labels.index(favorite)] += 100
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def reason() -> Reason:
    return Reason(
        "Stove", "Tent", True, None, FACTS, (f"{FACTS[0].text}.",), True, f"{FACTS[0].text}.", claim_evidence=("e1", "e1"), confident=True
    )  # fmt: skip


def test_probabilities_follow_the_names_of_the_labels_not_their_order(tmp_path: Path, embedder: Embedder) -> None:
    model = EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder)))
    reordered = EntailmentModel.load(str(cross_encoder(tmp_path / "b", embedder, labels=("CONTRADICTION", "Entailment", "neutral"))))
    first, second = (each.probabilities("The tent is dry.", "The stove is hot.") for each in (model, reordered))
    assert first.sum() == pytest.approx(1)
    # The same weights, so the same three probabilities, under other names.
    assert np.allclose(second, first[[1, 2, 0]], atol=1e-6)
    assert not np.allclose(first, model.probabilities("The stove is hot.", "The tent is dry."), atol=1e-6), (
        "premise and hypothesis are not interchangeable"
    )


def test_long_evidence_is_truncated(tmp_path: Path, embedder: Embedder) -> None:
    model = EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder)))
    assert model.probabilities("dry tent " * 900, "The stove is hot.").sum() == pytest.approx(1)


@pytest.mark.parametrize(("label", "source"), [("entailment", "wording"), ("neutral", "wording"), ("contradiction", "evidence")])
def test_a_contradicted_sentence_is_not_shown(tmp_path: Path, embedder: Embedder, llm: LanguageModel, label: str, source: str) -> None:
    strict = Explainer(llm, entailment=EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder, label))))
    (explanation,) = strict.explain([reason()])
    assert explanation.source == source
    assert explanation.verified


def test_unsupported_models_are_refused(tmp_path: Path, embedder: Embedder) -> None:
    with pytest.raises(ModelError, match="its labels are bad, good, not entailment, neutral, contradiction"):
        EntailmentModel.load(str(cross_encoder(tmp_path / "a", embedder, labels=("good", "bad"))))
    with pytest.raises(ModelMissingError, match="is neither a folder nor reachable: name another, or unset CROSSAISLE_NLI"):
        EntailmentModel.load("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ModelMissingError, ModelError), match="entailment model"):
        EntailmentModel.load(str(tmp_path / "empty"))
