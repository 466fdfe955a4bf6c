"""`crossaisle events` as a process: report, compact, forget-user, and one sentence for invalid input."""

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


def record_events(shop: Path) -> None:
    """Log one served list, a purchase of one of its items, and a click of another user."""
    log = EventLog.open(Workspace(shop))
    shown = [ServedItem("stove", "sequential", "Camping", "[bold]Kitchen\x1b[31m", "association"), ServedItem("tent")]
    key = log.append_served_list("ann", shown, arm="novelty/A", timestamp=NOW)
    log.append([Event("ann", "purchase", "stove", NOW + 5, recommendation_id=key), Event("zoe", "click", "tent", NOW)])
    log.close()


def test_the_report_as_tables_and_as_json(shop: Path) -> None:
    record_events(shop)
    process = run("events", "report", "-w", shop, env={"COLUMNS": "120"})
    assert process.returncode == 0, process.stderr
    for words in (
        "1 lists, 2 positions, 1 users",
        "[bold]Kitchen",
        "sequential",
        "50.0% (5.5 to 94.5)",
        "experiment novelty",
        "too few",
        "rule: look",
    ):
        assert words in process.stdout, process.stdout
    assert "\x1b[31m" not in process.stdout
    report = json.loads(run("events", "report", "-w", shop, "--json").stdout)
    assert (report["overall"]["clicks"], report["overall"]["purchases"], report["window_days"]) == (1, 1, 7.0)
    later = json.loads(run("events", "report", "-w", shop, "--since", "2030-01-01", "--json").stdout)
    assert later["lists"] == 0


def test_compact_and_then_forget_a_user(shop: Path) -> None:
    record_events(shop)
    process = run("events", "compact", "-w", shop)
    assert process.returncode == 0, process.stderr
    assert f"next: crossaisle index -w {shop}" in " ".join(process.stdout.split())
    assert Workspace(shop).table("interactions").height == 4
    again = json.loads(run("events", "compact", "-w", shop, "--json").stdout)
    assert (again["changed"], again["interactions"]) == (False, 0)
    process = run("events", "forget-user", "-w", shop, "zoe", "--json")
    assert process.returncode == 0, process.stderr
    assert (json.loads(process.stdout)["interactions"], json.loads(process.stdout)["events"]) == (1, 1)
    assert "zoe" not in process.stdout + (shop / "forgotten.jsonl").read_text()
    assert_rejected(run("events", "forget-user", "-w", shop, "zoe"), "no data of user 'zoe'")


def test_the_report_without_served_lists(shop: Path) -> None:
    process = run("events", "report", "-w", shop)
    assert (process.returncode, "no list was served" in process.stdout) == (0, True)


def test_with_a_pseudonym_key_in_the_environment_no_key_file_is_written(shop: Path) -> None:
    process = run("events", "compact", "-w", shop, "--pseudonymise", "--json", env={"CROSSAISLE_PSEUDONYM_KEY": "x" * 20})
    assert json.loads(process.stdout)["pseudonymised"] is True
    assert not (shop / FILE).exists()
    assert set(Workspace(shop).table("interactions")["user_id"].str.slice(0, 2)) == {"p-"}


def test_invalid_input_is_rejected_in_one_sentence(shop: Path, tmp_path: Path) -> None:
    assert_rejected(run("events", "report", "-w", shop, "--window", "0"), "--window must be above 0")
    assert_rejected(
        run("events", "report", "-w", shop, "--since", "yesterday"), "--since must be a day such as 2024-01-31, not 'yesterday'"
    )
    assert_rejected(run("events", "compact", "-w", tmp_path / "nowhere"), "holds no workspace")
    assert_rejected(run("events", "report", "-w", shop, "--events", "mysql://ann:hunter2@host/x"), "unsupported event database 'mysql'")


def test_recommend_takes_the_event_log_into_account(demo_workspace: Workspace, tmp_path: Path) -> None:
    shop = Path(shutil.copytree(demo_workspace.path, tmp_path / "shop"))
    command = ("recommend", "-w", shop, "--user", "s013", "--llm", "none", "--no-explain", "--json")
    first = json.loads(run(*command).stdout)["recommendations"][0]["item_id"]
    assert not (shop / "events.db").exists(), "recommend must not create an event log"
    log = EventLog.open(Workspace(shop))
    log.append([Event("s013", "dismiss", first)])
    log.close()
    assert first not in [item["item_id"] for item in json.loads(run(*command).stdout)["recommendations"]]
