"""Assignment to arms: deterministic, random over users, and independent of other experiments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossaisle.data.ab_tests import Experiment
from crossaisle.data.errors import FormatError, SettingsError

USERS = [f"u{n}" for n in range(4000)]


def test_assignment_is_deterministic_with_the_right_share() -> None:
    test = Experiment("novelty", 0.3, {}, {"novelty": 0.5})
    arms = [test.arm(user) for user in USERS]
    assert arms == [Experiment("novelty", 0.3).arm(user) for user in USERS]
    assert set(arms) == {"novelty/A", "novelty/B"}
    assert arms.count("novelty/B") / len(USERS) == pytest.approx(0.3, abs=0.03)
    assert all(test.options(user) == ({"novelty": 0.5} if arm == "novelty/B" else {}) for user, arm in zip(USERS, arms, strict=True))


def test_larger_share_moves_nobody_out_of_b() -> None:
    small, large = Experiment("x", 0.2), Experiment("x", 0.6)
    assert all(large.arm(user) == "x/B" for user in USERS if small.arm(user) == "x/B")


def test_two_experiments_are_independent() -> None:
    both = sum(Experiment("one").arm(user)[-1] == Experiment("two").arm(user)[-1] for user in USERS)
    assert both / len(USERS) == pytest.approx(0.5, abs=0.04)


def test_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"name": "tone", "A": {"tone": "plain"}, "B": {"tone": "warm"}}))
    assert Experiment.read(file) == Experiment("tone", 0.5, {"tone": "plain"}, {"tone": "warm"})


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("{", FormatError, "cannot be read as JSON"),
        ("[1]", FormatError, "expected an object with a name"),
        ('{"share": 0.5}', FormatError, "expected an object with a name"),
        ('{"name": "x", "C": {}}', FormatError, "expected an object with a name"),
        ('{"name": 1}', FormatError, "expected a text"),
        ('{"name": "x", "A": 3}', FormatError, "expected a text as the name, and objects"),
        ('{"name": "x/y"}', SettingsError, "letters, digits"),
        ('{"name": "x", "share": 1}', SettingsError, "above 0 and below 1"),
        ('{"name": "x", "share": true}', SettingsError, "above 0 and below 1"),
        ('{"name": "x", "B": {"k": 3}}', SettingsError, "B of the experiment x sets 'k'; it may set novelty"),
        ('{"name": "x", "A": {"novelty": "high"}}', SettingsError, "sets novelty to 'high'"),
        ('{"name": "x", "A": {"new_items": true}}', SettingsError, "wrong type"),
    ],
)
def test_invalid_experiments(tmp_path: Path, content: str, error: type[Exception], words: str) -> None:
    file = tmp_path / "test.json"
    file.write_text(content)
    with pytest.raises(error, match=words):
        Experiment.read(file)
