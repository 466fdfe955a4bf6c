"""A service whose reasons stand one by one, each when a file `go-N` lies in a folder: `python stepwise_server.py WORKSPACE FOLDER`."""

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
    """Serves on any free port, and prints it."""
    shop = StoreService.open(workspace, llm="none")
    shop.settings = shop.settings.with_(llm="smollm2")  # by which the console knows that reasons take their time
    explainer: Any = shop.recommender._explainer
    plain = explainer.explain

    def explain(reasons: Sequence[Any], tone: str, length: str, told: Callable[[int, Any], None]) -> list[Any]:
        def stands(place: int, text: Any) -> None:
            while not (folder / f"go-{place}").exists():
                deadlines.check()
                time.sleep(0.02)
            told(place, text)

        return list(plain(reasons, tone, length, stands))

    explainer.explain = explain
    config = uvicorn.Config(create(shop, ServerOptions(timeout=300, console=attach)), port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    config.callback_notify, config.timeout_notify = told_when(server), 1
    server.run()


def told_when(server: uvicorn.Server) -> Any:
    """What prints the port as soon as there is one."""

    told = False

    async def tell() -> None:
        nonlocal told
        if not told:
            told = True
            print(server.servers[0].sockets[0].getsockname()[1], flush=True)

    return tell


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
