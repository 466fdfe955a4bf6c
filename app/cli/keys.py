"""The commands for API keys: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJson, Where, console, print_json

app = typer.Typer(no_args_is_help=True, help="API keys of a workspace's service: create, list, revoke.", rich_markup_mode=None)


@app.command()
def create(
    workspace: Where,
    scope: Annotated[list[str] | None, typer.Option(help="read, events or admin. May be repeated; read where none is given.")] = None,
    name: Annotated[str, typer.Option(help="What it is for, as the list shows it.")] = "",
    as_json: AsJson = False,
) -> None:
    """A new API key. It is shown once: the workspace keeps only its hash.

    Example: crossaisle keys create -w shop --scope read --name website
    """
    from ...data.workspace import Workspace
    from ..service.api_keys import Keys

    keys = Keys(Workspace(workspace).path)
    key = keys.create(scope or ["read"], name)
    if as_json:
        print_json({"key": key, "key_id": key.split("_")[1], "scopes": scope or ["read"], "name": name})
        return
    screen = console()
    screen.print(key, soft_wrap=True)
    screen.print("Keep it now: it cannot be shown again. Callers send it as the header `Authorization: Bearer KEY`.", soft_wrap=True)


@app.command(name="list")
def list_(workspace: Where, as_json: AsJson = False) -> None:
    """The keys that there are, never their secrets.

    Example: crossaisle keys list -w shop
    """
    from ...data.workspace import Workspace
    from ..service.api_keys import Keys
    from ..terminal.render import plain

    keys = Keys(Workspace(workspace).path).list()
    if as_json:
        print_json([{"key_id": key.key_id, "name": key.name, "scopes": list(key.scopes), "created": key.created} for key in keys])
        return
    screen = console()
    for key in keys:
        screen.print(f"{key.key_id}  {key.created}  {'+'.join(key.scopes):<12}  {plain(key.name)}", soft_wrap=True)
    if not keys:
        screen.print(f"no keys yet; make one with `crossaisle keys create -w {workspace}`", soft_wrap=True)


@app.command()
def revoke(workspace: Where, key_id: Annotated[str, typer.Argument(help="As the list shows it.")], as_json: AsJson = False) -> None:
    """Takes a key's rights away, at once and also from a service that is running.

    Example: crossaisle keys revoke -w shop 1a2b3c4d
    """
    from ...data.workspace import Workspace
    from ..service.api_keys import Keys
    from ..terminal.render import plain

    key = Keys(Workspace(workspace).path).revoke(key_id)
    if as_json:
        print_json({"revoked": key.key_id, "name": key.name})
    else:
        console().print(f"revoked {key.key_id} {plain(key.name)}".strip(), soft_wrap=True)
