"""Server that generates one explanation at a time, explanation N when the file `go-N` exists: `stepwise_server.py WORKSPACE FOLDER`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from crossaisle.app.api.application import create
from crossaisle.app.api.state import ServerOptions
from crossaisle.app.console import attach
from crossaisle.app.service.store_service import StoreService
from crossaisle.data import deadlines


def main(workspace: str, folder: Path) -> None:
    """Serve on a free port, and print it."""
    store = StoreService.open(workspace, llm="none")
    store.settings = store.settings.with_(llm="smollm2")  # makes the console expect explanations in parts
    explainer: Any = store.recommender._explainer
    explain_at_once = explainer.explain

    def explain(reasons: Sequence[Any], tone: str, length: str, on_ready: Callable[[int, Any], None]) -> list[Any]:
        def wait_for_file(index: int, explanation: Any) -> None:
            while not (folder / f"go-{index}").exists():
                deadlines.check()
                time.sleep(0.02)
            on_ready(index, explanation)

        return list(explain_at_once(reasons, tone, length, wait_for_file))

    explainer.explain = explain
    config = uvicorn.Config(create(store, ServerOptions(timeout=300, console=attach)), port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    config.callback_notify, config.timeout_notify = port_printer(server), 1
    server.run()


def port_printer(server: uvicorn.Server) -> Any:
    """A callback that prints the port once, when it is known."""
    printed = False

    async def print_port() -> None:
        nonlocal printed
        if not printed:
            printed = True
            print(server.servers[0].sockets[0].getsockname()[1], flush=True)

    return print_port


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
