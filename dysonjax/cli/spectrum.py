"""`dysonjax spectrum FILE`: spectral statistics of every weight matrix of a checkpoint."""

import csv
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import __version__
from dysonjax.checks import InputError, positive_int
from dysonjax.cli import run_folder
from dysonjax.cli.common import output_folder, write_summary
from dysonjax.cli.terminal import Terminal
from dysonjax.spectra.checkpoint import MatrixSpectrum, analyse_matrix
from dysonjax.weights import Matrix, open_checkpoint, plan


@dataclass(frozen=True)
class Spectrum:
    """Analyse the weight matrices of a checkpoint.

    For every matrix, and every convolution reshaped to one: a Marchenko-Pastur fit with area A and width σ²
    and p-values against noise of the same shape, the levels beyond the Tracy-Widom edge of noise, the spacing
    ratio and the spacings against Gaussian matrices of the same shape, and the exponent of a power-law tail
    with the p-value that it needs.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """checkpoint: .safetensors, .npz, .npy, .pt, .h5, .keras, .onnx, .msgpack, a folder of shards or of
    orbax, or the folder of a run that kept its weights"""
    only: str | None = None
    """analyse only tensors whose name contains this text; default all"""
    layout: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RULE ...")] = ()
    """how tensors become matrices: torch, keras, flax, onnx or mlx for all, or PATTERN=LETTERS with one
    letter an axis (i input, o output, k kernel position, e one matrix a slice), such as 'query/kernel=ieo';
    default by names, sizes and the format"""
    split: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RULE ...")] = ()
    """how fused tensors are taken apart: PATTERN=3 (equal parts), PATTERN=4096,1024,1024,
    PATTERN=heads:12 (an ensemble of heads), PATTERN=heads:12x3 (q, k, v of a head together) or PATTERN=no;
    default q, k, v by name"""
    resamples: int = 200
    """simulated spectra and synthetic samples behind each p-value (number)"""
    seed: int = 0
    """seed of the resampling (integer)"""
    csv: bool = False
    """write the table to spectrum.csv in the output folder"""
    figures: bool = True
    """draw no figures; by default one per matrix, as PNG and PDF"""
    out: Path | None = None
    """output folder; default the next free runs/spectrum-NNN"""
    overwrite: bool = False
    """replace an existing output folder"""
    json: bool = False
    """print one JSON object with all rows as the last line of standard output"""
    quiet: bool = False
    """print nothing but warnings"""

    def run(self, terminal: Terminal) -> dict:
        resamples = positive_int("resamples", self.resamples, minimum=20)
        checkpoint = open_checkpoint(self.file)
        planned = plan(checkpoint, self.layout, self.split)
        matrices, accounts = planned.matrices, planned.accounts
        if self.only is not None:
            matrices = [matrix for matrix in matrices if self.only in matrix.name]
            accounts = [account for account in accounts if self.only in account.name]
            if not (matrices or accounts):
                raise InputError(f"no tensor of {self.file} has {self.only!r} in its name")
        started = time.monotonic()
        folder = None
        rows, skipped = [], [{"name": a.name, "reason": a.why} for a in accounts if a.done == "refused"]
        for refused in skipped:
            terminal.warn(f"{refused['name']} skipped: {refused['reason']}")
        with terminal.progress("analysing", unit="tensors") as update:
            for index, matrix in enumerate(matrices):
                try:
                    spectrum = _analyse(
                        matrix,
                        resamples,
                        self.seed,
                        lambda done, total, index=index: update(index + done / total, len(matrices)),
                    )
                except InputError as error:
                    skipped.append({"name": matrix.name, "reason": str(error)})
                    terminal.warn(f"{matrix.name} skipped: {error}")
                else:
                    # Only now is there something to write: bad input leaves no folder behind.
                    folder = folder or self._folder()
                    rows.append(spectrum.row())
                    if self.figures:
                        _draw(spectrum, folder, len(rows))
                update(index + 1, len(matrices))
        if not rows:
            detail = f" ({len(skipped)} could not be analysed: {skipped[0]['reason']})" if skipped else ""
            raise InputError(f"{self.file} holds no weight matrix that can be analysed{detail}")
        summary = {
            "command": "spectrum",
            "file": str(self.file),
            "out": str(folder),
            "matrices": rows,
            "skipped": skipped,
            "not_matrices": sum(account.done == "skipped" for account in accounts),
            "format": checkpoint.format,
            "framework": checkpoint.framework,
            "tensors": [asdict(account) for account in accounts],
            "notes": list(checkpoint.notes),
            "complete": not skipped,
            "seconds": time.monotonic() - started,
            "version": __version__,
        }
        write_summary(folder, summary)
        if self.csv:
            _write_csv(folder / "spectrum.csv", rows)
        self._report(terminal, summary)
        return summary

    def _folder(self) -> Path:
        folder = output_folder(self.out, "spectrum", self.overwrite)
        run_folder.write(folder, self)
        return folder

    def _report(self, terminal: Terminal, summary: dict) -> None:
        rows, skipped = summary["matrices"], summary["skipped"]
        # Width is short on a terminal: say how tensors became matrices only where one was reshaped.
        reshaped = any(row["how"] != "as stored" for row in rows)
        columns = {name: cell for name, cell in _COLUMNS.items() if reshaped or name != "read"}
        cells = [[cell(row) for cell in columns.values()] for row in rows]
        terminal.table(f"Spectra of {self.file}", list(columns), cells)
        terminal.print(
            "A, σ²: Marchenko-Pastur area and width; p(MP): their goodness of fit; p(A): that of A = 1; out: "
            "levels beyond the 99 % Tracy-Widom edge; r̃: mean spacing ratio (noise of the same shape); p(r̃), "
            "p(s): tests of ratio and spacings; α: tail exponent, p(α) its goodness of fit, * if it also "
            "beats lognormal and cut-off."
        )
        unfolding = sorted({row["unfolding"] for row in rows if row["unfolding"]})
        if unfolding:
            terminal.print(f"Spacings unfolded by: {', '.join(unfolding)}.")
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
        terminal.print(f"{len(rows)} matrices in {summary['seconds']:.1f} s, written to {summary['out']}")


def _analyse(matrix: Matrix, resamples: int, seed: int, progress) -> MatrixSpectrum:
    return analyse_matrix(matrix.read(), matrix.name, matrix.how, n=resamples, seed=seed, progress=progress)


def _draw(spectrum: MatrixSpectrum, folder: Path, number: int) -> None:
    # matplotlib takes a second to load and is not needed with --no-figures.
    from dysonjax.figures.spectrum import spectrum_figure
    from dysonjax.figures.style import save

    name = re.sub(r"[^A-Za-z0-9._=-]+", "_", spectrum.name).strip("_")[-80:]
    save(spectrum_figure(spectrum), folder, f"{number:03d}_{name}")


def _write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# heading: the cell of a row
_COLUMNS = {
    "matrix": lambda r: r["name"],
    "shape": lambda r: r["shape"] + (f" ×{r['members']}" if r["members"] > 1 else ""),
    "read": lambda r: r["how"],
    "A": lambda r: _number(r["mp_area"], "{:.2f}", r["mp_area_err"]),
    "σ²": lambda r: _number(r["mp_sigma2"], "{:.3g}", r["mp_sigma2_err"]),
    "p(MP)": lambda r: _number(r["mp_p"], "{:.2g}"),
    "p(A)": lambda r: _number(r["mp_area_p"], "{:.2g}"),
    "x₋ … x₊": lambda r: f"{_number(r['mp_lower'], '{:.3g}')} … {_number(r['mp_upper'], '{:.3g}')}",
    "out": lambda r: _number(r["outliers"], "{:d}"),
    "r̃ (null)": lambda r: f"{_number(r['ratio'], '{:.3f}')} ({_number(r['null_ratio'], '{:.3f}')})",
    "p(r̃)": lambda r: _number(r["ratio_p"], "{:.2g}"),
    "p(s)": lambda r: _number(r["spacing_p"], "{:.2g}"),
    "α": lambda r: (
        _number(r["tail_alpha"], "{:.2f}", r["tail_alpha_err"]) + ("*" if r["tail_accepted"] else "")
    ),
    "p(α)": lambda r: _number(r["tail_p"], "{:.2g}"),
}


def _number(value, form: str, error=None) -> str:
    if value is None:
        return "–"
    return form.format(value) + (f" ± {error:.1g}" if error is not None else "")
