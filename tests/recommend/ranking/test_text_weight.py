"""Weight of the LLM for text queries: measured, set, or given by the policy; the answer states why the LLM does not read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from crossaisle.data.errors import ModelError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.ranking.text_weight import TextWeightInUse, text_weight_file, text_weight_in_use
from crossaisle.recommend.recommender import Recommender

GAINS: Mapping[str, Mapping[str, float]] = {
    "better": {"value": 0.05, "low": 0.02, "high": 0.08},
    "unclear": {"value": 0.01, "low": -0.02, "high": 0.04},
}
QUERY = "something for a rainy camping trip"


@pytest.fixture
def shop(demo_workspace: Workspace, tmp_path: Path) -> Path:
    shutil.copytree(demo_workspace.path, tmp_path / "shop")
    return tmp_path / "shop"


def measured(shop: Path, settings: Settings, weight: float, gain: str) -> None:
    file = text_weight_file(shop, settings)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"weight": weight, "gain": GAINS[gain]}))


@pytest.mark.parametrize(
    ("gain", "policy", "expected"),
    [
        ("better", "when-better", TextWeightInUse(2.0)),
        ("unclear", "when-better", TextWeightInUse(0.0, "its measured gain for texts here is +0.010 [-0.020, +0.040]")),
        ("unclear", "always", TextWeightInUse(2.0)),
        ("better", "never", TextWeightInUse(0.0, "--llm-policy is never")),
    ],
)
def test_the_policy_decides(shop: Path, small: Settings, gain: str, policy: str, expected: TextWeightInUse) -> None:
    measured(shop, small, 2.0, gain)
    assert text_weight_in_use(shop, small.with_(llm_policy=policy)) == expected


def test_without_a_measurement(tmp_path: Path, small: Settings) -> None:
    unmeasured = text_weight_in_use(tmp_path, small)
    assert unmeasured == TextWeightInUse(0.0, "its weight for texts is not measured here (crossaisle train llm-weight)")
    assert text_weight_in_use(tmp_path, small.with_(llm_policy="always")).weight == 0.5
    assert text_weight_in_use(tmp_path, small.with_(llm_weight=3.0)) == TextWeightInUse(3.0)
    assert text_weight_in_use(tmp_path, small.with_(llm_weight=0.0)).reason == "--llm-weight is 0"
    assert text_weight_in_use(tmp_path, small.with_(llm="none")).reason == "there is none (--llm none)"
    measured(tmp_path, small, 0.0, "unclear")
    assert text_weight_in_use(tmp_path, small).reason == "its measured weight for texts here is 0"


@pytest.mark.parametrize("content", ["", "[]", '{"weight": 1}', '{"weight": "x", "gain": {}}', "\x00"])
def test_a_damaged_file(tmp_path: Path, small: Settings, content: str) -> None:
    measured(tmp_path, small, 1.0, "better")
    text_weight_file(tmp_path, small).write_text(content)
    with pytest.raises(ModelError, match="cannot be read .*; run `crossaisle train -w .* llm-weight` again"):
        text_weight_in_use(tmp_path, small)


def test_answers_say_whether_the_llm_read(shop: Path, small: Settings) -> None:
    unread = Recommender.open(shop, settings=small).recommend(text=QUERY, explain=False)
    assert unread.llm is not None
    assert unread.llm.summary == "the LLM did not read: its weight for texts is not measured here (crossaisle train llm-weight)"
    assert unread.llm.tokens_in == 0
    assert all("llm" not in entry.channels for entry in unread)
    measured(shop, small, 8.0, "better")
    read = Recommender.open(shop, settings=small).recommend(text=QUERY, explain=False)
    assert read.llm is not None
    assert read.llm.summary == f"ranked by the channels' ranks and {small.llm_name} (weight 8, 20 read)"
    assert read.llm.tokens_in > 0
    assert all("llm" in entry.channels for entry in read)
    assert [entry.item for entry in read] != [entry.item for entry in unread]
