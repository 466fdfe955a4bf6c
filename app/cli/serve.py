"""The command that serves a workspace over HTTP: serve."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...data.errors import SettingsError
from .options import Chroma, Llm, Quantization, Where, settings_with

if TYPE_CHECKING:
    from ..service.api_keys import Keys

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def serve(
    workspace: Where,
    host: Annotated[str, typer.Option(help="Address to listen at. Others than loopback take API keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")] = 8000,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Ask for no API key although there are some; on loopback only.")] = False,
    rate: Annotated[float | None, typer.Option(help="Requests a second that a key may make on average.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 30.0,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait; the next one is told to come again.")] = 64,
    events_url: Annotated[
        str | None,
        typer.Option(help="postgresql+psycopg://... of the log of events. A password in it is better kept in CROSSAISLE_EVENTS."),
    ] = None,
    pseudonymise: Annotated[bool, typer.Option("--pseudonymise", help="Keep user ids in the log of events as keyed hashes only.")] = False,
    origin: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may ask, as https://shop.example. May be repeated.")
    ] = None,
    experiment: Annotated[Path | None, typer.Option(help="A JSON file of two configurations that users are parted between.")] = None,
    https: Annotated[bool, typer.Option("--https", help="A proxy before it speaks HTTPS: the console's cookie is for that only.")] = False,
    console: Annotated[bool, typer.Option("--console/--no-console", help="The web page for a marketer, beside the API.")] = True,
    report: Annotated[list[Path] | None, typer.Option(help="Folder of an evaluation or judgement to show. May be repeated.")] = None,
    min_users: Annotated[int, typer.Option(help="The fewest users that are told of.")] = 20,
    budget: Annotated[float, typer.Option(help="Sum of all epsilons that this workspace may ever spend.")] = 10.0,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
) -> None:
    """The HTTP API and the console of a workspace, until it is stopped; what it took it finishes.

    Example: crossaisle serve -w shop --port 8000
    """
    from ...data.ab_tests import Experiment
    from ...data.workspace import Workspace
    from ..service.api_keys import Keys

    settings = settings_with(llm=llm, quantization=quantization, chroma=chroma)
    opened = Workspace(workspace)
    if rate is not None and not 0 < rate < 1e6:
        raise SettingsError(f"a rate is a number of requests a second above 0, not {rate:g}")
    keys = wanted(Keys(opened.path), host, workspace, off=no_keys)
    listening = listen(host, port)  # before anything is loaded: a port that is taken is told at once
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)
    for name in ("httpx", "chromadb", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import uvicorn

    from ..api.application import Options, create
    from ..console import attach
    from ..service.store_service import Shop

    with listening:
        shop = Shop(
            opened,
            settings,
            min_users=min_users,
            budget=budget,
            evaluations=report or (),
            events=events_url,
            pseudonymise=pseudonymise,
            experiment=Experiment.read(experiment) if experiment else None,
        )
        options = Options(
            keys=keys,
            rate=rate,
            timeout=timeout,
            waiting=waiting,
            origins=tuple(origin or ()),
            secure=https,
            console=attach if console else None,
        )
        config = uvicorn.Config(
            create(shop, options),
            access_log=False,  # theirs has paths, in which people stand
            log_config=None,
            server_header=False,
            proxy_headers=False,
            # An answer may wait, then be worked on; a websocket of the console would never end.
            timeout_graceful_shutdown=round(2 * timeout) + 5,
        )
        where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        if keys is None:
            print(
                f"crossaisle: NO API KEY IS ASKED FOR: whoever has an account on this machine may ask {where} anything; "
                f"make one with `crossaisle keys create -w {workspace}`",
                file=sys.stderr,
            )
        print(f"crossaisle: serving {workspace} at {where}, the API is described at {where}/docs", file=sys.stderr, flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def wanted(keys: Keys, host: str, workspace: Path, *, off: bool) -> Keys | None:
    """The keys that are asked for; None on loopback, where there are none or it is asked for.

    Raises: SettingsError: no keys, and not on loopback.
    """
    if is_loopback(host):
        return None if off or not len(keys) else keys
    if off:
        raise SettingsError(f"--no-keys is for loopback, and {host} can be reached from other machines")
    if not len(keys):
        raise SettingsError(
            f"{host} can be reached from other machines, and {workspace} has no API key yet; make one with "
            f"`crossaisle keys create -w {workspace}`, or serve on 127.0.0.1"
        )
    return keys


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address.

    Raises: SettingsError: it is taken, not allowed, or no address of this machine.
    """
    found: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        return found
    except OSError as error:
        if found is not None:
            found.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} of {host} is taken; stop what serves there, or give another with --port") from error
        if error.errno == errno.EACCES:
            raise SettingsError(f"this account may not listen at port {port}; give one above 1023 with --port") from error
        raise SettingsError(f"{host} port {port} cannot be listened at ({error.strerror or error}); give another --host") from error
