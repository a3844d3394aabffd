"""What `dysonjax spectrum` shows and writes: an estimate, the table, CSV, the page and the figures."""

import csv
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.cli.common import count, duration
from dysonjax.cli.kept_layers import Layer
from dysonjax.cli.terminal import Terminal
from dysonjax.layers.table import row_of
from dysonjax.layers.units import Unit, Units
from dysonjax.layers.walk import Options, Result, memory, work
from dysonjax.report.spectrum_page import Drawn, drawn, render
from dysonjax.spectra.checkpoint import MatrixSpectrum


def estimate(units: Sequence[Unit], options: Options, jobs: int) -> str:
    """How much there is to do, from a product that is timed here and now, and what memory it takes."""
    sample = np.random.default_rng(0).normal(size=(768, 384))
    times = []
    for _ in range(4):  # the first one wakes the threads of the linear algebra
        began = time.perf_counter()
        np.linalg.eigvalsh(sample.T @ sample)
        times.append(time.perf_counter() - began)
    rate = (768 * 384**2 + 3 * 384**3) / min(times)
    shapes = {(unit.rows, unit.modes) for unit in units}
    # The noise of every shape is simulated once, in every process.
    simulated = len(shapes) * (0.2 if options.quick else 0.5)
    seconds = sum(work(unit, options) for unit in units) / rate / jobs + simulated
    largest = max(units, key=lambda unit: memory(unit, options))
    needed = (0.25 * 2**30 + memory(largest, options)) * jobs / 2**30
    return (
        f"{len(units)} matrices of {count(len(shapes), 'shape')}, the largest {largest.rows}x{largest.modes}"
        f"{f' ×{largest.members}' if largest.members > 1 else ''}; about {duration(seconds)} and "
        f"{needed:.1f} GiB of memory"
    )


def sort_key(text: str | None) -> tuple[str | None, bool]:
    """(column, descending) of `COLUMN`, `COLUMN:asc` or `COLUMN:desc`."""
    if text is None:
        return None, False
    key, _, order = text.partition(":")
    if order not in ("", "desc", "asc"):
        raise InputError(f"sort must be COLUMN, COLUMN:asc or COLUMN:desc, got {text!r}")
    return key, order == "desc"


def ordered(rows: list[dict], key: str | None, descending: bool) -> list[dict]:
    """Rows by a column; those without a value come last in either order."""
    if key is None:
        return rows
    if key not in rows[0]:
        raise InputError(f"sort must name a column ({', '.join(rows[0])}), got {key!r}")
    known = sorted(
        (row for row in rows if row[key] is not None), key=lambda row: row[key], reverse=descending
    )
    return known + [row for row in rows if row[key] is None]


def print_table(terminal: Terminal, summary: dict) -> None:
    rows, skipped = summary["matrices"], summary["skipped"]
    # Width is short on a terminal: say how tensors became matrices only where one was reshaped.
    reshaped = any(row["how"] != "as stored" for row in rows)
    compared = any("start_change" in row for row in rows)
    left_out = (set() if reshaped else {"read"}) | (set() if compared else {"change", "v·v₀"})
    columns = {name: [cell(row) for row in rows] for name, cell in _COLUMNS.items() if name not in left_out}
    columns = {name: cells for name, cells in columns.items() if set("".join(cells)) - set("– (),")}
    lines = [list(row) for row in zip(*columns.values(), strict=True)]
    terminal.table(f"Spectra of {summary['file']}", list(columns), lines)
    said = [meaning for names, meaning in _MEANINGS.items() if set(names.split()) & set(columns)]
    terminal.print("; ".join(said))
    unfolding = sorted({row["unfolding"] for row in rows if row["unfolding"]})
    if unfolding:
        terminal.print(f"spacings were unfolded by: {', '.join(unfolding)}")
    for row in rows:
        if row["notes"]:
            terminal.print(f"{row['name']}: {row['notes']}")
    left = Counter(account["why"] for account in summary["tensors"] if account["done"] != "matrix")
    if left:
        terminal.print("not matrices: " + "; ".join(f"{why} ({n})" for why, n in left.most_common(8)))
    for note in summary["notes"]:
        terminal.print(note)
    if skipped:
        terminal.print(f"incomplete: {len(skipped)} of {len(rows) + len(skipped)} matrices were skipped")
    verdicts = Counter(row["verdict"] or "without a verdict" for row in rows)
    counted = ", ".join(f"{n} × {word}" for word, n in verdicts.most_common())
    size, seconds = count(len(rows), "matrix", "matrices"), f"{summary['seconds']:.1f} s"
    terminal.print(f"{size}, {counted}; {seconds}, written to {summary['out']}")


def page(summary: dict, plots: list[Drawn], found: Units) -> str:
    rows = summary["matrices"]
    facts = [
        ("file", Path(summary["file"]).name),
        ("format", found.format),
        ("framework", found.framework or "not known"),
        ("matrices", str(len(rows))),
        ("tensors", str(len(found.accounts)) if found.accounts else "–"),
        ("could not be analysed", str(len(summary["skipped"]))),
    ]
    notes = [f"{s['name']}: {s['reason']}" for s in summary["skipped"]] + summary["notes"]
    return render(f"Spectra of {Path(summary['file']).name}", facts, plots, found.accounts, notes)


def draw(spectrum: MatrixSpectrum, folder: Path, number: int) -> None:
    # matplotlib takes a second to load and is not needed with --no-figures.
    from dysonjax.figures.spectrum import spectrum_figure
    from dysonjax.figures.style import save

    name = re.sub(r"[^A-Za-z0-9._=-]+", "_", spectrum.name).strip("_")[-80:]
    save(spectrum_figure(spectrum), folder, f"{number:03d}_{name}")


def layer_of(result: Result) -> Layer:
    """What is kept and shown of a result."""
    if result.spectrum is None:
        return Layer(None, "", result.problem or "it could not be analysed")
    row = row_of(result)
    return Layer(row, drawn(row, result.spectrum).svg, "")


def write_csv(path: Path, rows: list[dict]) -> None:
    with files.aside(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# heading: the cell of a row
_COLUMNS = {
    "matrix": lambda r: r["name"],
    "shape": lambda r: r["shape"] + (f" ×{r['members']}" if r["members"] > 1 else ""),
    "read": lambda r: r["how"],
    "verdict": lambda r: r["verdict"] or "–",
    "A": lambda r: _number(r["mp_area"], "{:.2f}", r["mp_area_error"]),
    "σ²": lambda r: _number(r["mp_sigma2"], "{:.3g}", r["mp_sigma2_error"]),
    "p(MP)": lambda r: _number(r["mp_p"], "{:.2g}"),
    "p(A)": lambda r: _number(r["mp_area_p"], "{:.2g}"),
    "out": lambda r: _number(r["outliers"], "{:d}"),
    "θ/θc": lambda r: _number(r["spike_strength"], "{:.2f}"),
    "r̃ (null)": lambda r: f"{_number(r['ratio'], '{:.3f}')} ({_number(r['null_ratio'], '{:.3f}')})",
    "p(r̃)": lambda r: _number(r["ratio_p"], "{:.2g}"),
    "p(s)": lambda r: _number(r["spacing_p"], "{:.2g}"),
    "α": lambda r: (
        _number(r["tail_alpha"], "{:.2f}", r["tail_alpha_error"]) + ("*" if r["tail_accepted"] else "")
    ),
    "p(α)": lambda r: _number(r["tail_p"], "{:.2g}"),
    "rank": lambda r: f"{r['stable_rank']:.3g}, {r['effective_rank']:.3g}",
    "change": lambda r: _number(r.get("start_change"), "{:.2g}"),
    "v·v₀": lambda r: _number(r.get("start_overlap_right"), "{:.2f}"),
}


# What is said below the table of the columns that it has.
_MEANINGS = {
    "A σ²": "A, σ²: Marchenko-Pastur area and width",
    "p(MP)": "p(MP): their goodness of fit",
    "p(A)": "p(A): that of A = 1",
    "out": "out: levels beyond what one noise matrix in a hundred reaches",
    "θ/θc": "θ/θc: strength of the largest (1: the transition)",
    "r̃ (null)": "r̃: mean spacing ratio (noise of the same shape)",
    "p(r̃) p(s)": "p(r̃), p(s): tests of ratio and spacings",
    "α": "α: tail exponent, * if a power law is accepted",
    "p(α)": "p(α): goodness of fit of the tail",
    "rank": "rank: stable, effective",
    "change": "change: ‖W − W₀‖/‖W₀‖",
    "v·v₀": "v·v₀: overlap of the leading directions",
}


def _number(value, form: str, error=None) -> str:
    if value is None:
        return "–"
    return form.format(value) + (f" ± {error:.1g}" if error is not None else "")
