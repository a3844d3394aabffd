"""`dysonjax spectrum FILE`: spectral statistics of every weight matrix of a checkpoint."""

import csv
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import __version__
from dysonjax.checks import InputError, positive_int
from dysonjax.cli.common import output_folder, write_summary
from dysonjax.cli.read_weights import Tensor, open_weights
from dysonjax.cli.terminal import Terminal
from dysonjax.spectra.checkpoint import MatrixSpectrum, analyse_matrix, as_matrix


@dataclass(frozen=True)
class Spectrum:
    """Analyse the weight matrices of a checkpoint.

    For every matrix, and every convolution reshaped to one: a Marchenko-Pastur fit with area A and width σ²
    and p-values against noise of the same shape, the levels beyond the Tracy-Widom edge of noise, the spacing
    ratio and the spacings against Gaussian matrices of the same shape, and the exponent of a power-law tail
    with the p-value that it needs.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """checkpoint: .safetensors, .npz, .npy or the folder of a run that kept its weights"""
    only: str | None = None
    """analyse only tensors whose name contains this text; default all"""
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
        tensors = open_weights(self.file)
        if self.only is not None:
            tensors = [tensor for tensor in tensors if self.only in tensor.name]
            if not tensors:
                raise InputError(f"no tensor of {self.file} has {self.only!r} in its name")
        started = time.monotonic()
        folder = None
        rows, skipped, other = [], [], 0
        with terminal.progress("analysing", unit="tensors") as update:
            for index, tensor in enumerate(tensors):
                try:
                    spectrum = _analyse(
                        tensor,
                        resamples,
                        self.seed,
                        lambda done, total, index=index: update(index + done / total, len(tensors)),
                    )
                except InputError as error:
                    skipped.append({"name": tensor.name, "reason": str(error)})
                    terminal.warn(f"{tensor.name} skipped: {error}")
                    spectrum = None
                else:
                    other += spectrum is None
                if spectrum is not None:
                    # Only now is there something to write: bad input leaves no folder behind.
                    folder = folder or output_folder(self.out, "spectrum", self.overwrite)
                    rows.append(spectrum.row())
                    if self.figures:
                        _draw(spectrum, folder, len(rows))
                update(index + 1, len(tensors))
        if not rows:
            detail = f" ({len(skipped)} could not be analysed)" if skipped else ""
            raise InputError(f"{self.file} holds no weight matrix that can be analysed{detail}")
        summary = {
            "command": "spectrum",
            "file": str(self.file),
            "out": str(folder),
            "matrices": rows,
            "skipped": skipped,
            "not_matrices": other,
            "complete": not skipped,
            "seconds": time.monotonic() - started,
            "version": __version__,
        }
        write_summary(folder, summary)
        if self.csv:
            _write_csv(folder / "spectrum.csv", rows)
        self._report(terminal, summary)
        return summary

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
        if skipped:
            terminal.print(f"incomplete: {len(skipped)} of {len(rows) + len(skipped)} matrices were skipped")
        terminal.print(f"{len(rows)} matrices in {summary['seconds']:.1f} s, written to {summary['out']}")


def _analyse(tensor: Tensor, resamples: int, seed: int, progress) -> MatrixSpectrum | None:
    """None for a tensor that is no matrix by nature: a bias, a scalar, an index table."""
    array = tensor.read()
    if tensor.members:
        return analyse_matrix(array, tensor.name, "as stored", n=resamples, seed=seed, progress=progress)
    if array.ndim < 2 or array.dtype.kind in "iub":
        return None
    matrix, how = as_matrix(array, tensor.name)
    return analyse_matrix(matrix, tensor.name, how, n=resamples, seed=seed, progress=progress)


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
