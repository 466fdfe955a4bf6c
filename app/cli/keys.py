"""The commands for API keys: keys create, keys list, keys revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJson, WorkspacePath, console, print_json

app = typer.Typer(no_args_is_help=True, help="API keys of a workspace: create, list, revoke.", rich_markup_mode=None)


@app.command()
def create(
    workspace: WorkspacePath,
    scope: Annotated[list[str] | None, typer.Option(help="Scope of the key: read (default), events or admin. May be repeated.")] = None,
    name: Annotated[str, typer.Option(help="What the key is for; shown by `keys list`.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is shown once: the workspace stores only its hash.

    Example: crossaisle keys create -w shop --scope read --name website
    """
    from ...data.workspace import Workspace
    from ..service.api_keys import ApiKeys

    keys = ApiKeys(Workspace(workspace).path)
    key = keys.create(scope or ["read"], name)
    if as_json:
        print_json({"key": key, "key_id": key.split("_")[1], "scopes": scope or ["read"], "name": name})
        return
    screen = console()
    screen.print(key, soft_wrap=True)
    screen.print("Save it now: it cannot be shown again. Clients send it as the header `Authorization: Bearer KEY`.", soft_wrap=True)


@app.command(name="list")
def list_(workspace: WorkspacePath, as_json: AsJson = False) -> None:
    """List the API keys, without their secrets.

    Example: crossaisle keys list -w shop
    """
    from ...data.workspace import Workspace
    from ..service.api_keys import ApiKeys
    from ..terminal.render import printable

    keys = ApiKeys(Workspace(workspace).path).list()
    if as_json:
        print_json([{"key_id": key.key_id, "name": key.name, "scopes": list(key.scopes), "created": key.created} for key in keys])
        return
    screen = console()
    for key in keys:
        screen.print(f"{key.key_id}  {key.created}  {'+'.join(key.scopes):<12}  {printable(key.name)}", soft_wrap=True)
    if not keys:
        screen.print(f"no keys yet; create one with `crossaisle keys create -w {workspace}`", soft_wrap=True)


@app.command()
def revoke(
    workspace: WorkspacePath,
    key_id: Annotated[str, typer.Argument(help="Id of the key, as shown by `keys list`.")],
    as_json: AsJson = False,
) -> None:
    """Revoke an API key immediately, including in running servers.

    Example: crossaisle keys revoke -w shop 1a2b3c4d
    """
    from ...data.workspace import Workspace
    from ..service.api_keys import ApiKeys
    from ..terminal.render import printable

    key = ApiKeys(Workspace(workspace).path).revoke(key_id)
    if as_json:
        print_json({"revoked": key.key_id, "name": key.name})
    else:
        console().print(f"revoked {key.key_id} {printable(key.name)}".strip(), soft_wrap=True)
