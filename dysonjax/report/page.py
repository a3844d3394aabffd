"""A `Report` as one HTML page that asks nothing of any network.

The page is small enough for `string.Template`: a template engine would be one more dependency, and the single
place where text enters the page, `escape`, is easier to watch here.
"""

import html
import importlib.resources
import json
import math
import re
from string import Template
from typing import Any

from dysonjax.report.gather import Report
from dysonjax.report.tables import Table

EXPLORE = ("data", "draw", "map", "panel", "main")  # scripts of the explorer, in their order


def render(report: Report, live: float | None = None) -> str:
    """The page. live: seconds after which it looks for news where it came from; None: it asks for nothing."""
    files = importlib.resources.files("dysonjax.report")

    def text(name: str) -> str:
        return (files / name).read_text(encoding="utf-8")

    scripts = ["sort.js", *(f"explore/{name}.js" for name in EXPLORE)] + (["live.js"] if live else [])
    template = Template(text("page.html"))
    return template.substitute(
        title=escape(report.title),
        style=text("style.css") + text("explore/explore.css"),
        script="\n".join(map(text, scripts)),
        connect=" connect-src 'self';" if live else "",
        live="" if live is None else f' data-live="{float(live)}"',
        explore=_explore(report.explore),
        state="finished" if report.finished else "unfinished",
        state_text="finished" if report.finished else "not finished",
        folder=escape(report.folder),
        facts="\n".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in report.facts),
        warnings=_list("warnings", "Warnings", report.warnings),
        verdicts=_list("verdicts", "What came out", report.verdicts),
        figures="\n".join(
            f'<figure><img alt="{escape(p.name)}" src="data:image/png;base64,{p.png}">'
            f"<figcaption>{escape(p.name)}</figcaption></figure>"
            for p in report.pictures
        ),
        contents=" · ".join(
            f'<a href="#{_anchor(i, table)}">{escape(table.title)}</a>'
            for i, table in enumerate(report.tables)
        ),
        tables="\n".join(_table(i, table) for i, table in enumerate(report.tables)),
        reproduce=_reproduce(report),
    )


def escape(text: Any) -> str:
    """Text as HTML; every piece of text that a report did not write itself passes through here."""
    return html.escape(str(text), quote=True)


def number(value: float) -> str:
    """Four significant digits, as many as a glance takes in; the full number stays in the cell's data."""
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 10**7):
        return str(value)
    return f"{value:.4g}"


def _explore(data: dict | None) -> str:
    """The explorer's place and data. JSON inside of a script ends at the first "<" that could end one."""
    if data is None:
        return ""
    content = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        content = content.replace(character, f"\\u{ord(character):04x}")
    return (
        '<section class="explore" id="explore"><noscript>To explore the run, allow this page its own script.'
        f'</noscript></section>\n<script type="application/json" id="explore-data">{content}</script>'
    )


def _list(name: str, title: str, sentences: list[str]) -> str:
    if not sentences:
        return ""
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<section class="{name}"><h2>{title}</h2><ul>{items}</ul></section>'


def _anchor(index: int, table: Table) -> str:
    return f"table-{index}-{re.sub('[^a-z0-9]+', '-', table.title.lower())}"


def _table(index: int, table: Table) -> str:
    first = table.rows[0] if table.rows else [""] * len(table.columns)
    head = "".join(
        f"<th scope='col' class='{'text' if isinstance(cell, str) else 'number'}'>"
        f"<button type='button'>{escape(name)}</button></th>"
        for name, cell in zip(table.columns, first, strict=True)
    )
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    return (
        f'<section class="table" id="{_anchor(index, table)}"><h3>{escape(table.title)}</h3>{note}'
        f'<div class="scroll"><table class="columns-{len(table.columns)}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div></section>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        value, error = value
        shown = number(value) if math.isnan(error) else _with_error(value, error)
        return f'<td data-value="{value!r}" title="{value!r} ± {error!r}">{shown}</td>'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td data-value="{value!r}">{number(value)}</td>'
    return f'<td class="text">{escape("" if value is None else value)}</td>'


def _with_error(value: float, error: float) -> str:
    """Value and error with the digits that the error leaves: 0.1234 ± 0.0056."""
    if error == 0 or not math.isfinite(error) or not 1e-4 < abs(value) < 1e5:
        return f"{value:.4g} ± {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _reproduce(report: Report) -> str:
    command = (
        f"<pre><code>{escape(report.command)}</code></pre>"
        if report.command
        else "<p>The command line is not known; the configuration below is complete.</p>"
    )
    if not report.has_data:
        return command
    return f"{command}<p>The numbers behind it all:</p><pre><code>{escape(_reading(report))}</code></pre>"


def _reading(report: Report) -> str:
    return f"import dysonjax as dj\n\ndataset = dj.read({report.folder!r})  # xarray.Dataset"
