"""The spectra of a network as one HTML page: a table to sort, profiles over depth, a small plot a layer.

Plots are SVG written here: five hundred of them make a page of a megabyte, where pictures would take fifty.
"""

import importlib.resources
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dysonjax.report.page import _anchor, _table, escape, number
from dysonjax.report.tables import Table
from dysonjax.spectra.checkpoint import MatrixSpectrum
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur

WIDTH, HEIGHT = 300, 130  # of a plot, units of its own
_BINS = 48
_MARGIN = 42  # for the numbers of a profile

TABLE = (
    ("matrix", "name"),
    ("role", "role"),
    ("shape", "shape"),
    ("verdict", "verdict"),
    ("σ²", "mp_sigma2"),
    ("A", "mp_area"),
    ("p(MP)", "mp_p"),
    ("spikes", "outliers"),
    ("θ/θc", "spike_strength"),
    ("α", "tail_alpha"),
    ("p(α)", "tail_p"),
    ("r̃", "ratio"),
    ("p(r̃)", "ratio_p"),
    ("stable rank", "stable_rank"),
    ("effective rank", "effective_rank"),
    ("‖W‖", "spectral_norm"),
    ("‖W‖F", "frobenius_norm"),
    ("shuffled", "shuffled_outliers"),
)
PROFILES = (
    ("σ²", "mp_sigma2"),
    ("A", "mp_area"),
    ("levels beyond the edge", "outliers"),
    ("α of accepted tails", "tail_alpha"),
    ("stable rank", "stable_rank"),
    ("effective rank / N", "effective_share"),
    ("‖W‖, spectral", "spectral_norm"),
    ("change since the start", "start_change"),
)


class Drawn(NamedTuple):
    """What is kept of a layer for the page: its plot, already drawn."""

    row: dict[str, Any]
    svg: str


def drawn(row: dict[str, Any], spectrum: MatrixSpectrum) -> Drawn:
    return Drawn(row, _density(spectrum))


def render(title: str, facts: Sequence[tuple[str, str]], layers: Iterable[Drawn], accounts, notes) -> str:
    """The page. layers: in the order of the file; accounts: what became of every tensor; notes: sentences."""
    layers = list(layers)
    files = importlib.resources.files("dysonjax.report")
    rows = [layer.row for layer in layers]
    shown = [(head, key) for head, key in TABLE if any(row.get(key) is not None for row in rows)]
    table = Table(
        "Matrices",
        [head for head, _ in shown],
        [[_cell(row, key) for _, key in shown] for row in rows],
        "σ², A: Marchenko-Pastur width and area, p(MP): their goodness of fit; spikes: levels beyond what "
        "one noise matrix in a hundred reaches, θ/θc the strength of the largest (1: the transition); α: "
        "tail exponent with p(α), its goodness of fit; r̃: spacing ratio; shuffled: levels beyond the edge "
        "that survive shuffling the entries.",
    )
    files_table = Table(
        "Every tensor of the file",
        ["tensor", "shape", "type", "done", "why"],
        [[a.name, "×".join(map(str, a.shape)) or "–", a.dtype, a.done, a.why] for a in accounts],
    )
    counts: dict[str, int] = {}
    for row in rows:
        word = _family(row["verdict"])
        counts[word] = counts.get(word, 0) + 1
    summary = ", ".join(f"{count} × {word}" for word, count in sorted(counts.items(), key=lambda kv: -kv[1]))
    tables = _table(0, table) + (_table(1, files_table) if accounts else "")
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    contents = f'<a href="#{_anchor(0, table)}">table</a> · <a href="#profiles">profiles</a> · '
    contents += '<a href="#layers">layers</a>'
    contents += f' · <a href="#{_anchor(1, files_table)}">every tensor</a>' if accounts else ""
    return _PAGE.format(
        title=escape(title),
        style=(files / "style.css").read_text(encoding="utf-8") + _STYLE,
        script=(files / "sort.js").read_text(encoding="utf-8"),
        facts="".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts),
        summary=escape(summary or "no verdicts"),
        contents=contents,
        notes=f'<section class="warnings"><h2>Notes</h2><ul>{items}</ul></section>' if items else "",
        tables=tables,
        profiles=_profiles(rows),
        layers="".join(_card(index, layer) for index, layer in enumerate(layers)),
    )


def _cell(row: dict, key: str) -> Any:
    value = row.get(key)
    error = row.get(f"{key}_error")
    if isinstance(value, float) and isinstance(error, float):
        return (value, error)
    return value


def _family(word: str | None) -> str:
    if word is None:
        return "no verdict"
    spiked = word.startswith("noise with") and word != "noise with large entries"
    return "noise with spikes" if spiked else word


def _card(index: int, layer: Drawn) -> str:
    row = layer.row
    word = row["verdict"] or "no verdict"
    chips = [("M×N", row["shape"]), ("σ²", row["mp_sigma2"]), ("A", row["mp_area"])]
    chips += [("α", row["tail_alpha"] if row["tail_accepted"] else None), ("stable rank", row["stable_rank"])]
    numbers = " · ".join(
        f"{name} {value if isinstance(value, str) else number(value)}"
        for name, value in chips
        if value is not None
    )
    why = f"<p>{escape(row['why'])}</p>" if row["why"] else ""
    notes = f"<p>{escape(row['notes'])}</p>" if row["notes"] else ""
    kind = _family(row["verdict"]).replace(" ", "-")
    return (
        f'<article id="layer-{index}"><h3>{escape(row["name"])}</h3>'
        f'<p><span class="chip {kind}">{escape(word)}</span> {escape(row["role"])}, {escape(row["how"])}</p>'
        f"{layer.svg}<p>{escape(numbers)}</p>{why}{notes}</article>"
    )


def _density(spectrum: MatrixSpectrum) -> str:
    """Histogram of √x with the fitted law and the edge; levels beyond the picture are counted."""
    s = np.sqrt(spectrum.levels.ravel())
    fit, edge = spectrum.marchenko_pastur, spectrum.edge
    stop = float(s.max())
    if fit is not None and edge is not None:
        stop = min(stop * 1.02, max(1.5 * math.sqrt(edge), float(np.quantile(s, 0.98)) * 1.05))
    if not stop > 0:
        return '<p class="note">all levels are zero</p>'
    heights, _ = np.histogram(s[s <= stop], bins=_BINS, range=(0, stop))
    density = heights / (s.size * stop / _BINS)
    top = float(density.max()) or 1.0
    line = ""
    if fit is not None:
        law = MarchenkoPastur(fit.ratio, float(fit.sigma2))
        grid = np.linspace(math.sqrt(law.lower), min(math.sqrt(law.upper), stop), 80)
        curve = 2 * grid * float(fit.area) * np.nan_to_num(law.pdf(grid**2), posinf=0.0)
        top = max(top, float(np.minimum(curve, 1.5 * top).max()))
        points = " ".join(f"{_x(v, stop)},{_y(min(c, top), top)}" for v, c in zip(grid, curve, strict=True))
        line = f'<polyline class="law" points="{points}"/>'
    step = WIDTH / _BINS
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{_y(h, top)}" width="{step:.1f}" '
        f'height="{HEIGHT * 0.93 * h / top:.1f}"/>'
        for i, h in enumerate(density)
        if h > 0
    )
    mark = ""
    if edge is not None and math.sqrt(edge) <= stop:
        at = _x(math.sqrt(edge), stop)
        mark = f'<line class="edge" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>'
    ticks = ""
    if spectrum.outliers and spectrum.spikes is not None:
        ticks = "".join(
            f'<circle cx="{_x(v, stop)}" cy="{HEIGHT - 3}" r="2.5"/>'
            for v in np.sqrt(spectrum.spikes.levels)
            if v <= stop
        )
    beyond = int((s > stop).sum())
    more = f", {beyond} beyond" if beyond else ""
    label = escape(f"Density of singular values of {spectrum.name}")
    below = HEIGHT + 13
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 16}" role="img" aria-label="{label}">{bars}{line}{mark}{ticks}'
        f'<text x="0" y="{below}">0</text>'
        f'<text x="{WIDTH / 2}" y="{below}" text-anchor="middle">singular value{more}</text>'
        f'<text x="{WIDTH}" y="{below}" text-anchor="end">{number(stop)}</text></svg>'
    )


def _x(value: float, stop: float) -> str:
    return f"{WIDTH * value / stop:.1f}"


def _y(value: float, top: float) -> str:
    return f"{HEIGHT * (1 - 0.93 * value / top):.1f}"


def _profiles(rows: list[dict]) -> str:
    """A small plot over depth for every quantity that at least two layers have."""
    rows = [
        row | {"effective_share": row["effective_rank"] / int(row["shape"].split("x")[1])} for row in rows
    ]
    found = []
    for title, key in PROFILES:
        values = [row.get(key) for row in rows]
        if key == "tail_alpha":
            values = [v if row.get("tail_accepted") else None for v, row in zip(values, rows, strict=True)]
        points = [(i, v) for i, v in enumerate(values) if v is not None]
        if len(points) >= 2:
            found.append(_profile(title, points, len(rows), rows))
    return "".join(found)


def _profile(title: str, points: list[tuple[int, float]], count: int, rows: list[dict]) -> str:
    values = [v for _, v in points]
    low, high = min(values), max(values)
    low = 0.0 if low >= 0 and low < 0.6 * high else low
    span = (high - low) or abs(high) or 1.0
    place = [
        (_MARGIN + (WIDTH - _MARGIN) * (i + 0.5) / count, 8 + (HEIGHT - 16) * (1 - (v - low) / span))
        for i, v in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in place)
    radius = 3 if count <= 60 else 1.5
    dots = "".join(
        f'<a href="#layer-{i}"><circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
        f"<title>{escape(rows[i]['name'])}: {number(v)}</title></circle></a>"
        for (i, v), (x, y) in zip(points, place, strict=True)
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over depth">'
        f'<polyline class="depth" points="{line}"/>{dots}'
        f'<text x="{_MARGIN - 6}" y="11" text-anchor="end">{number(high)}</text>'
        f'<text x="{_MARGIN - 6}" y="{HEIGHT - 5}" text-anchor="end">{number(low)}</text></svg>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


_STYLE = """
.profiles, .layers { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
.profiles figure { margin: 0; }
td.text:first-child { min-width: 18rem; background: var(--paper); } th:first-child { z-index: 2; }
td.text:first-child, th:first-child { position: sticky; left: 0; }
@media (max-width: 40rem) { td.text:first-child { min-width: 8rem; max-width: 8rem; font-size: .72rem; } }
article { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem; min-width: 0; }
article h3 { margin: 0 0 .2rem; overflow-wrap: anywhere; font-size: .9rem; }
article p { margin: .25rem 0; font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
article:target { border-color: var(--blue); }
svg { width: 100%; height: auto; display: block; }
svg rect { fill: var(--blue); opacity: .45; } svg text { font-size: 10px; fill: var(--soft); }
svg .law { fill: none; stroke: #b00020; stroke-width: 1.5; }
svg .edge { stroke: var(--ink); stroke-dasharray: 2 3; }
svg circle { fill: var(--orange); } svg .depth { fill: none; stroke: var(--line); stroke-width: 1.5; }
.chip { border-radius: 1rem; padding: .1rem .5rem; color: #fff; background: var(--soft); font-weight: 600; }
.chip.noise { background: #57606a; } .chip.noise-with-spikes { background: var(--blue); }
.chip.noise-with-large-entries { background: #0a7d5a; }
.chip.heavy-tail { background: var(--orange); } .chip.not-described { background: #6e40aa; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header><h1>{title}</h1><p class="folder">{summary}</p><dl class="facts">{facts}</dl></header>
<main>
<p class="contents">{contents}</p>
{notes}
<section id="profiles"><h2>Over depth</h2>
<p class="hint">One point a matrix, in the order of the file. A click leads to it.</p>
<div class="profiles">{profiles}</div></section>
<section class="tables"><h2>Tables</h2><p class="hint">A click on a heading sorts.</p>{tables}</section>
<section id="layers"><h2>Layers</h2><p class="hint">Density of singular values; red: the fitted law of
Marchenko and Pastur, dotted: the edge that one noise matrix in a hundred passes, dots: levels beyond it.</p>
<div class="layers">{layers}</div></section>
</main>
<script>
{script}
</script>
</body>
</html>
"""
