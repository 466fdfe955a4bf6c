"""Rendering of the HTML reports from the Jinja2 templates in `templates/`.

Every value is escaped unless it is trusted markup. Undefined variables are errors. Report texts are untrusted: the `isolate` filter also
removes control characters and keeps right-to-left text from reordering its surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..terminal.evaluation_table import format_interval, format_number
from ..terminal.judge_tables import format_run, format_share
from ..terminal.render import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of a report.

    Attributes:
        headings: Column headings.
        rows: One cell per heading in each row: text, or markup of `isolate`.
        caption: Caption, may be empty.
        text_columns: Number of leading columns that hold text and are aligned to the left.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    text_columns: int = 1


def render_template(name: str, **values: Any) -> str:
    """Return a template of `templates/` as HTML.

    Args:
        name: File name of the template.
        values: Variables of the template.
    """
    return _environment().get_template(name).render(**values)


def trusted_markup(html: str) -> Markup:
    """Mark HTML as safe to insert without escaping. Only for markup whose texts are escaped already, such as SVG."""
    from markupsafe import Markup

    return Markup(html)


def isolate(text: Any) -> Markup:
    """Return untrusted text as an escaped `<bdi>` element on one line, without control characters."""
    from markupsafe import Markup

    return Markup("<bdi>{}</bdi>").format(printable(" ".join(str(text).split())))


def printable_lines(text: str) -> str:
    """Return a text of several lines without control characters other than line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def thousands(value: float | None) -> str:
    """A number with thousands separators; `-` for None."""
    return "-" if value is None else f"{value:,}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(__package__, "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        interval=format_interval,
        isolate=isolate,
        number=format_number,
        printable_lines=printable_lines,
        run=format_run,
        share=format_share,
        thousands=thousands,
    )
    return environment
