"""The OpenAPI page: every address with what it takes, as one page without scripts, made from the API's own description.

The usual page loads its scripts from a server of others; this one is whole and works in a closed network. `/openapi.json` is the same for
machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; font-size: 1.1rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .5rem; border-bottom: 1px solid var(--line) }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700 }
.scope { font-size: .85rem; padding: .1rem .5rem; background: var(--soft); border-radius: .5rem }
.wide { overflow-x: auto }
"""
_HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'


def page(schema: Mapping[str, Any]) -> str:
    """The whole page as HTML. Args: schema: the API in OpenAPI 3.1, as FastAPI makes it."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            parts.append(_operation(schema, path, method, about))
    title, version = escape(schema["info"]["title"]), escape(schema["info"]["version"])
    told = f'<p>{escape(schema["info"].get("description", ""))} <a href="/openapi.json">openapi.json</a></p>'
    head = f"{_HEAD}<title>{title}</title><style>{_STYLE}</style></head>"
    return f"{head}<body><main><h1>{title} {version}</h1>{told}{''.join(parts)}</main></body></html>"


def _operation(schema: Mapping[str, Any], path: str, method: str, about: Mapping[str, Any]) -> str:
    scope = next(iter(about.get("security", [{}])[0].get("key", [])), None)
    rows = [
        _row(one["name"], one["schema"], one.get("required", False), one.get("description", "") or one["schema"].get("description", ""))
        for one in about.get("parameters", [])
    ]
    body = about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        for shape in _shapes(schema, body):
            rows += [
                _row(name, field, name in shape.get("required", ()), field.get("description", ""))
                for name, field in shape.get("properties", {}).items()
            ]
    head = "<thead><tr><th>field</th><th>is</th><th>means</th></tr></thead>"
    table = f'<div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>' if rows else ""
    needs = f'<span class="scope">scope {escape(scope)}</span>' if scope else ""
    told = f"<p>{escape(about['description'])}</p>" if about.get("description") else ""
    return (
        f'<h2><span class="method">{method.upper()}</span> <code>{escape(path)}</code> {needs}</h2>'
        f"<p>{escape(about.get('summary', ''))}</p>{told}{table}"
    )


def _shapes(schema: Mapping[str, Any], body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The objects that a body may be, each once; of a list, its elements."""
    if "$ref" in body:
        return [schema["components"]["schemas"][body["$ref"].rsplit("/", 1)[-1]]]
    found: list[Mapping[str, Any]] = []
    for one in body.get("anyOf", [body["items"]] if "items" in body else []):
        found += [shape for shape in _shapes(schema, one) if shape not in found]
    return found


def _row(name: str, field: Mapping[str, Any], required: bool, told: str) -> str:
    return f"<tr><td><code>{escape(name)}</code>{' *' if required else ''}</td><td>{escape(_kind(field))}</td><td>{escape(told)}</td></tr>"


def _kind(field: Mapping[str, Any]) -> str:
    """A field's type and bounds in a few words."""
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    low, high = field.get("minimum"), field.get("maximum")
    bounds = f" {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}" if (low, high) != (None, None) else ""
    longest = f" of at most {field['maxLength']:,}" if "maxLength" in field else ""
    return f"{field.get('type', 'any')}{bounds}{longest}"
