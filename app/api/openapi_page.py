"""The `/docs` page: every address of the API with its parameters, as one HTML page without scripts, rendered from the OpenAPI description.

FastAPI's own page needs the Swagger UI scripts, which it loads from a CDN and which no dependency of this package contains. This page has
no external parts and works in a closed network. `/openapi.json` has the same for machines.
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


def render_openapi_page(description: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        description: OpenAPI 3.1 description of the API, as FastAPI generates it.
    """
    operations = [
        _operation(description, path, method, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    info = description["info"]
    title, version = escape(info["title"]), escape(info["version"])
    intro = f'<p>{escape(info.get("description", ""))} <a href="/openapi.json">openapi.json</a></p>'
    head = f"{_HEAD}<title>{title}</title><style>{_STYLE}</style></head>"
    return f"{head}<body><main><h1>{title} {version}</h1>{intro}{''.join(operations)}</main></body></html>"


def _operation(description: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    """One address and method: its scope, its summary, and a table of its parameters and body fields."""
    scope = next(iter(operation.get("security", [{}])[0].get("key", [])), None)
    rows = [
        _field_row(field["name"], field["schema"], field.get("required", False), field.get("description") or "")
        for field in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        for schema in _object_schemas(description, body):
            required = schema.get("required", ())
            rows += [_field_row(name, field, name in required) for name, field in schema.get("properties", {}).items()]
    head = "<thead><tr><th>field</th><th>type</th><th>meaning</th></tr></thead>"
    table = f'<div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>' if rows else ""
    badge = f'<span class="scope">scope {escape(scope)}</span>' if scope else ""
    details = f"<p>{escape(operation['description'])}</p>" if operation.get("description") else ""
    return (
        f'<h2><span class="method">{method.upper()}</span> <code>{escape(path)}</code> {badge}</h2>'
        f"<p>{escape(operation.get('summary', ''))}</p>{details}{table}"
    )


def _object_schemas(description: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The object schemas that a body may have, each once; for a list, those of its elements."""
    if "$ref" in schema:
        return [description["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]]
    schemas: list[Mapping[str, Any]] = []
    for part in schema.get("anyOf", [schema["items"]] if "items" in schema else []):
        schemas += [object_schema for object_schema in _object_schemas(description, part) if object_schema not in schemas]
    return schemas


def _field_row(name: str, field: Mapping[str, Any], required: bool, meaning: str = "") -> str:
    """A row of the table; required fields are marked with `*`."""
    marker = " *" if required else ""
    meaning = meaning or field.get("description", "")
    return f"<tr><td><code>{escape(name)}</code>{marker}</td><td>{escape(_type_text(field))}</td><td>{escape(meaning)}</td></tr>"


def _type_text(field: Mapping[str, Any]) -> str:
    """A field's type and bounds in a few words."""
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in field:
        return " or ".join(_type_text(option) for option in field["anyOf"])
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        return f"list of {_type_text(field.get('items', {}))}"
    low, high = field.get("minimum"), field.get("maximum")
    bounds = f" {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}" if (low, high) != (None, None) else ""
    max_length = f" of at most {field['maxLength']:,}" if "maxLength" in field else ""
    return f"{field.get('type', 'any')}{bounds}{max_length}"
