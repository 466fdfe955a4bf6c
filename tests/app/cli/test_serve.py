"""`crossaisle serve` and `crossaisle keys` as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from crossaisle.app.cli.serve import is_loopback
from crossaisle.data.workspace import Workspace

from ...command_line import PROGRAM, assert_rejected, run
from ...http_server import assert_problem, retry_until_listening


@pytest.fixture(scope="module")
def shop(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("commands") / "shop"
    shutil.copytree(demo_workspace.path, path)
    return path


def test_keys_are_created_listed_and_revoked(shop: Path) -> None:
    created = json.loads(run("keys", "create", "-w", shop, "--scope", "events", "--name", "till", "--json").stdout)
    assert created["scopes"] == ["events"]
    listed = run("keys", "list", "-w", shop)
    assert created["key_id"] in listed.stdout
    assert "till" in listed.stdout
    assert created["key"] not in listed.stdout
    assert json.loads(run("keys", "revoke", "-w", shop, created["key_id"], "--json").stdout)["name"] == "till"
    assert_rejected(run("keys", "revoke", "-w", shop, created["key_id"]), "no key")
    assert_rejected(run("keys", "create", "-w", shop, "--scope", "root"), "read, events, admin")
    assert json.loads(run("keys", "list", "-w", shop, "--json").stdout) == []


def test_options_that_cannot_be_served_are_rejected_at_once(shop: Path, tmp_path: Path) -> None:
    assert_rejected(run("serve", "-w", shop, "--host", "0.0.0.0"), "no API key yet", "keys create")
    assert_rejected(run("serve", "-w", shop, "--host", "0.0.0.0", "--no-keys"), "--no-keys is for loopback")
    assert_rejected(run("serve", "-w", tmp_path / "nothing"), "crossaisle demo")
    assert_rejected(run("serve", "-w", shop, "--rate", "0"), "rate")
    with socket.socket() as in_use:
        in_use.bind(("127.0.0.1", 0))
        in_use.listen()
        port = str(in_use.getsockname()[1])
        assert_rejected(run("serve", "-w", shop, "--port", port), f"port {port}", "--port")


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("shop.example", False)])  # fmt: skip
def test_loopback_addresses(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_the_server_warns_that_no_key_is_required_and_finishes_requests_before_it_stops(shop: Path) -> None:
    command = [str(PROGRAM), "serve", "-w", str(shop), "--port", "0", "--llm", "none", "--no-console"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("crossaisle: serving"):
                break
        assert any("NO API KEY IS REQUIRED" in line for line in lines)
        address = lines[-1].split(" at ")[1].split(",")[0]
        drain = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
        drain.start()
        assert retry_until_listening(lambda: httpx.get(f"{address}/v1/ready")).status_code == 200
        body = {"requests": [{"user": f"s{number:03d}", "k": 10} for number in range(1, 60)]}
        responses: list[httpx.Response] = []
        caller = threading.Thread(target=lambda: responses.append(httpx.post(f"{address}/v1/recommend:batch", json=body, timeout=120)))
        caller.start()
        while 'crossaisle_requests_taken{desk="answers"} 1.0' not in httpx.get(f"{address}/metrics").text:
            assert caller.is_alive()
        process.send_signal(signal.SIGTERM)
        caller.join(120)
        assert len(responses[0].json()["answers"]) == 59  # a running request finishes
        process.wait(60)
        drain.join()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{address}/v1/health")
    assert "Traceback" not in "".join(lines)
    assert any("POST /v1/recommend:batch 200" in line for line in lines)


def test_off_loopback_a_key_is_required(shop: Path) -> None:
    key = json.loads(run("keys", "create", "-w", shop, "--json").stdout)["key"]
    command = [str(PROGRAM), "serve", "-w", str(shop), "--host", "0.0.0.0", "--port", "0", "--llm", "none", "--no-console"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        started = next(line for line in process.stderr if line.startswith("crossaisle: serving"))
        address = started.split(" at ")[1].split(",")[0].replace("0.0.0.0", "127.0.0.1")
        drain = threading.Thread(target=lambda: list(process.stderr or ()))
        drain.start()
        assert_problem(retry_until_listening(lambda: httpx.get(f"{address}/v1/atlas")), 401)
        assert httpx.get(f"{address}/v1/atlas", headers={"Authorization": f"Bearer {key}"}, timeout=60).status_code == 200
        process.terminate()
        process.wait(60)
        drain.join()
