"""Rendering of HTML reports: escaping, undefined variables, number formats and tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from crossaisle.app.reports import rendering
from crossaisle.app.reports.rendering import ReportTable, isolate, render_template, thousands, trusted_markup

HOSTILE = "<script>alert('x')</script> \u202egnp.exe\nline & \"quote\""


def table_html(content: ReportTable) -> str:
    source = '{% from "_table.html.j2" import table %}{{ table(content) }}'
    return rendering._environment().from_string(source).render(content=content)


def test_isolated_text_is_escaped_and_on_one_line_without_control_characters() -> None:
    assert isolate(HOSTILE) == "<bdi>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; gnp.exe line &amp; &#34;quote&#34;</bdi>"
    assert isolate(0.5) == "<bdi>0.5</bdi>"


def test_cells_are_escaped_unless_they_are_markup() -> None:
    html = table_html(ReportTable(["<h>", "n"], [[HOSTILE, "1"], [isolate("a<b"), trusted_markup("<b>2</b>")]], caption="<c>"))
    assert "<script" not in html
    assert "<caption>&lt;c&gt;</caption>" in html
    assert '<th scope="col" class="l">&lt;h&gt;</th><th scope="col">n</th>' in html
    assert '<td class="l"><bdi>a&lt;b</bdi></td><td><b>2</b></td>' in html


def test_leading_text_columns_are_aligned_to_the_left() -> None:
    html = table_html(ReportTable(["a", "b", "c"], [["x", "y", "1"]], text_columns=2))
    assert re.findall(r'<td( class="l")?>(\w)</td>', html) == [(' class="l"', "x"), (' class="l"', "y"), ("", "1")]
    assert "<caption>" not in html


def test_undefined_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'svg' is undefined"):
        render_template("category_map.html.j2", title="t", notes=[], table=ReportTable([], []))


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0, "0"), (1234567, "1,234,567"), (1234.5, "1,234.5")])
def test_thousands(value: float | None, text: str) -> None:
    assert thousands(value) == text


def test_every_template_is_inside_the_package() -> None:
    folder = Path(rendering.__file__).parent / "templates"
    assert sorted(rendering._environment().list_templates()) == sorted(file.name for file in folder.iterdir())
