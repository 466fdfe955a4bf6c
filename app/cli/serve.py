"""The serve command: HTTP API and console of a workspace."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...data.errors import SettingsError
from .options import Chroma, Llm, LlmModel, LlmPolicy, LlmWeight, Quantization, RerankDepth, WorkspacePath, settings_from

if TYPE_CHECKING:
    from ..service.api_keys import ApiKeys

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def serve(
    workspace: WorkspacePath,
    host: Annotated[str, typer.Option(help="Address to listen on. Addresses other than loopback require API keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")] = 8000,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Require no API key although keys exist; on loopback only.")] = False,
    rate: Annotated[float | None, typer.Option(help="Average number of requests per second allowed for a key.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Time limit of a request in seconds.")] = 30.0,
    waiting: Annotated[int, typer.Option(min=0, help="Maximum number of waiting requests; further ones are rejected with 503.")] = 64,
    events_url: Annotated[
        str | None,
        typer.Option(help="URL of the event log, postgresql+psycopg://... Put a URL with a password into CROSSAISLE_EVENTS instead."),
    ] = None,
    pseudonymise: Annotated[bool, typer.Option("--pseudonymise", help="Store user ids in the event log as keyed hashes only.")] = False,
    origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may call the API, such as https://shop.example. May be repeated.")
    ] = None,
    experiment: Annotated[Path | None, typer.Option(help="JSON file with the two configurations of an A/B test.")] = None,
    https: Annotated[bool, typer.Option("--https", help="Set behind an HTTPS proxy: marks the console cookie Secure.")] = False,
    console: Annotated[bool, typer.Option("--console/--no-console", help="Serve the web console for marketers.")] = True,
    report: Annotated[
        list[Path] | None, typer.Option(help="Output folder of evaluate or judge to show in the console. May be repeated.")
    ] = None,
    min_users: Annotated[int, typer.Option(help="Smallest group whose statistics may be shown (k-anonymity threshold).")] = 20,
    budget: Annotated[float, typer.Option(help="Total privacy budget of the workspace (sum of all epsilons).")] = 10.0,
    llm: Llm = None,
    llm_model: LlmModel = None,
    llm_policy: LlmPolicy = None,
    llm_weight: LlmWeight = None,
    rerank_depth: RerankDepth = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
) -> None:
    """Serve the HTTP API and console; in-flight requests finish before shutdown.

    Example: crossaisle serve -w shop --port 8000
    """
    from ...data.ab_tests import Experiment
    from ...data.workspace import Workspace
    from ..service.api_keys import ApiKeys

    settings = settings_from(
        llm=llm,
        llm_model=llm_model,
        llm_policy=llm_policy,
        llm_weight=llm_weight,
        rerank_depth=rerank_depth,
        quantization=quantization,
        chroma=chroma,
    )
    opened = Workspace(workspace)
    if rate is not None and not 0 < rate < 1e6:
        raise SettingsError(f"--rate must be a number of requests per second above 0, not {rate:g}")
    keys = required_keys(ApiKeys(opened.path), host, workspace, off=no_keys)
    server_socket = bind_socket(host, port)  # first, so that a port in use is reported before the models are loaded
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)
    for name in ("httpx", "chromadb", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import uvicorn

    from ..api.application import create
    from ..api.state import ServerOptions
    from ..console import attach
    from ..service.store_service import StoreService

    with server_socket:
        store = StoreService(
            opened,
            settings,
            min_users=min_users,
            budget=budget,
            report_folders=report or (),
            events=events_url,
            pseudonymise=pseudonymise,
            experiment=Experiment.read(experiment) if experiment else None,
        )
        options = ServerOptions(
            api_keys=keys,
            requests_per_second=rate,
            timeout=timeout,
            max_waiting=waiting,
            allowed_origins=tuple(origin or ()),
            secure_cookies=https,
            console=attach if console else None,
        )
        config = uvicorn.Config(
            create(store, options),
            access_log=False,  # uvicorn logs paths, which contain user ids
            log_config=None,
            server_header=False,
            proxy_headers=False,
            # A request may wait and then run for the time limit; the console's websockets would never end.
            timeout_graceful_shutdown=round(2 * timeout) + 5,
        )
        url = f"http://{f'[{host}]' if ':' in host else host}:{server_socket.getsockname()[1]}"
        if keys is None:
            print(
                f"crossaisle: NO API KEY IS REQUIRED: every user of this machine can query {url}; "
                f"create a key with `crossaisle keys create -w {workspace}`",
                file=sys.stderr,
            )
        print(f"crossaisle: serving {workspace} at {url}, API description at {url}/docs", file=sys.stderr, flush=True)
        uvicorn.Server(config).run(sockets=[server_socket])


def required_keys(keys: ApiKeys, host: str, workspace: Path, *, off: bool) -> ApiKeys | None:
    """Return the API keys that requests must present; None on loopback without keys or with `--no-keys`.

    Args:
        keys: API keys of the workspace.
        host: Address to listen on.
        workspace: Folder of the workspace, for messages.
        off: Whether `--no-keys` is set.

    Raises:
        SettingsError: The address is not loopback, and there are no keys or `--no-keys` is set.
    """
    if is_loopback(host):
        return None if off or not len(keys) else keys
    if off:
        raise SettingsError(f"--no-keys is for loopback, but {host} can be reached from other machines")
    if not len(keys):
        raise SettingsError(
            f"{host} can be reached from other machines, but {workspace} has no API key yet; create one with "
            f"`crossaisle keys create -w {workspace}`, or serve on 127.0.0.1"
        )
    return keys


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can be reached from this machine only."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Raises:
        SettingsError: The port is in use or not permitted, or the host is no address of this machine.
    """
    bound: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        return bound
    except OSError as error:
        if bound is not None:
            bound.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} of {host} is in use; stop the process that uses it, or choose another with --port") from error
        if error.errno == errno.EACCES:
            raise SettingsError(f"no permission to listen on port {port}; choose one above 1023 with --port") from error
        raise SettingsError(f"cannot listen on {host} port {port} ({error.strerror or error}); choose another --host") from error
