"""`crossaisle events` as a person runs it: the report, the folding, the forgetting, and one sentence for bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import crossaisle
from crossaisle import Workspace
from crossaisle.data.events import Event, EventLog, ServedItem
from crossaisle.data.privacy.pseudonyms import FILE

from ...command_line import assert_rejected, run

Store = Callable[..., Path]
NOW = 1_710_000_000_000


@pytest.fixture
def shop(tmp_path: Path, make_store: Store) -> Path:
    files = make_store({"tent": "Camping", "stove": "Kitchen"}, {"ann": ["tent"], "bob": ["stove"]})
    crossaisle.ingest(tmp_path / "shop", "files", [files])
    return tmp_path / "shop"


def happened(shop: Path) -> None:
    log = EventLog.open(Workspace(shop))
    shown = [ServedItem("stove", "sequential", "Camping", "[bold]Kitchen\x1b[31m", "association"), ServedItem("tent")]
    key = log.append_served_list("ann", shown, arm="novelty/A", timestamp=NOW)
    log.append([Event("ann", "purchase", "stove", NOW + 5, recommendation_id=key), Event("zoe", "click", "tent", NOW)])
    log.close()


def test_the_report_for_a_person_and_as_json(shop: Path) -> None:
    happened(shop)
    done = run("events", "report", "-w", shop, env={"COLUMNS": "120"})
    assert done.returncode == 0, done.stderr
    for words in (
        "1 lists, 2 positions, 1 users",
        "[bold]Kitchen",
        "sequential",
        "50.0% (5.5 to 94.5)",
        "experiment novelty",
        "too few",
        "rule: look",
    ):
        assert words in done.stdout, done.stdout
    assert "\x1b[31m" not in done.stdout
    told = json.loads(run("events", "report", "-w", shop, "--json").stdout)
    assert (told["overall"]["clicks"], told["overall"]["purchases"], told["window_days"]) == (1, 1, 7.0)
    later = json.loads(run("events", "report", "-w", shop, "--since", "2030-01-01", "--json").stdout)
    assert later["lists"] == 0


def test_folded_and_then_forgotten(shop: Path) -> None:
    happened(shop)
    done = run("events", "compact", "-w", shop)
    assert done.returncode == 0, done.stderr
    assert f"next: crossaisle index -w {shop}" in " ".join(done.stdout.split())
    assert Workspace(shop).table("interactions").height == 4
    again = json.loads(run("events", "compact", "-w", shop, "--json").stdout)
    assert (again["changed"], again["interactions"]) == (False, 0)
    done = run("events", "forget-user", "-w", shop, "zoe", "--json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["interactions"], json.loads(done.stdout)["events"]) == (1, 1)
    assert "zoe" not in done.stdout + (shop / "forgotten.jsonl").read_text()
    assert_rejected(run("events", "forget-user", "-w", shop, "zoe"), "no data of user 'zoe'")


def test_nothing_happened_yet(shop: Path) -> None:
    done = run("events", "report", "-w", shop)
    assert (done.returncode, "no list was served" in done.stdout) == (0, True)


def test_pseudonyms_from_the_environment_need_no_file(shop: Path) -> None:
    done = run("events", "compact", "-w", shop, "--pseudonymise", "--json", env={"CROSSAISLE_PSEUDONYM_KEY": "x" * 20})
    assert json.loads(done.stdout)["pseudonymised"] is True
    assert not (shop / FILE).exists()
    assert set(Workspace(shop).table("interactions")["user_id"].str.slice(0, 2)) == {"p-"}


def test_bad_input_is_one_sentence(shop: Path, tmp_path: Path) -> None:
    assert_rejected(run("events", "report", "-w", shop, "--window", "0"), "--window must be above 0")
    assert_rejected(run("events", "report", "-w", shop, "--since", "yesterday"), "--since must be a day such as 2024-01-31, not 'yesterday'")
    assert_rejected(run("events", "compact", "-w", tmp_path / "nowhere"), "holds no workspace")
    assert_rejected(run("events", "report", "-w", shop, "--events", "mysql://ann:hunter2@host/x"), "PostgreSQL, not to 'mysql'")


def test_a_recommendation_on_the_command_line_reflects_the_events(demo_workspace: Workspace, tmp_path: Path) -> None:
    shop = Path(shutil.copytree(demo_workspace.path, tmp_path / "shop"))
    ask = ("recommend", "-w", shop, "--user", "s013", "--llm", "none", "--no-explain", "--json")
    first = json.loads(run(*ask).stdout)["recommendations"][0]["item_id"]
    assert not (shop / "events.db").exists(), "asking makes no log"
    log = EventLog.open(Workspace(shop))
    log.append([Event("s013", "dismiss", first)])
    log.close()
    assert first not in [one["item_id"] for one in json.loads(run(*ask).stdout)["recommendations"]]
