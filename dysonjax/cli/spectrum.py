"""`dysonjax spectrum FILE`: spectral statistics of every weight matrix of a checkpoint."""

import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import __version__, files
from dysonjax.checks import InputError, positive_int
from dysonjax.cli import run_folder
from dysonjax.cli.common import output_folder, write_summary
from dysonjax.cli.kept_layers import Kept, Layer
from dysonjax.cli.output import take_up
from dysonjax.cli.spectrum_output import (
    draw,
    estimate,
    layer_of,
    ordered,
    page,
    print_table,
    sort_key,
    write_csv,
)
from dysonjax.cli.terminal import Terminal
from dysonjax.layers.units import Units, nothing_in, units_of
from dysonjax.layers.walk import Options, Recipe, walk
from dysonjax.report.spectrum_page import Drawn


@dataclass(frozen=True)
class Spectrum:
    """Analyse the weight matrices of a checkpoint.

    For every matrix, and every convolution reshaped to one: a Marchenko-Pastur fit with area A and width σ²
    and p-values against noise of the same shape, the levels beyond the edge of noise and their strength, the
    spacing ratio and the spacings against Gaussian matrices of the same shape, the exponent of a power-law
    tail with the p-value that it needs, norms and ranks, and the same entries shuffled and with random signs.
    A verdict is given where a p-value carries it: noise, noise with k spikes, noise with large entries,
    heavy tail, or not described. A run is analysed at every record.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """A checkpoint: .safetensors, .npz, .npy, .pt, .h5, .keras, .onnx, .gguf, .msgpack, a folder of shards or
    of orbax, or the folder of a run."""
    only: str | None = None
    """Analyse only tensors whose name contains this text; default: all."""
    layout: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RULE ...")] = ()
    """How tensors become matrices: torch, keras, flax, onnx or mlx for all, or PATTERN=LETTERS with one
    letter an axis (i input, o output, k kernel position, e one matrix a slice), such as 'query/kernel=ieo';
    default: by names, sizes and the format."""
    split: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RULE ...")] = ()
    """How fused tensors are taken apart: PATTERN=3 (equal parts), PATTERN=4096,1024,1024,
    PATTERN=heads:12 (an ensemble of heads), PATTERN=heads:12x3 (q, k, v of a head together) or PATTERN=no;
    default: q, k, v by name."""
    resamples: int = 200
    """Simulated spectra and synthetic samples behind each p-value."""
    seed: int = 0
    """Seed of the resampling."""
    nulls: int | None = None
    """Matrices with shuffled entries and with random signs behind each comparison, 0 for none;
    default: 19 for small matrices, fewer for large ones."""
    quick: bool = False
    """Leave out what no verdict needs: spacings, and shuffled and signed matrices."""
    start: Path | None = None
    """The same network before training: adds the change of entries, spectrum and singular vectors."""
    jobs: int = 1
    """Processes that analyse layers at the same time."""
    sort: str | None = None
    """Column of the results to sort by, such as tail_alpha or outliers:desc; default: the order of the
    file."""
    csv: bool = False
    """Write the table to spectrum.csv in the output folder."""
    figures: bool = True
    """Draw no figures; default: one for each matrix, as PNG and PDF."""
    out: Path | None = None
    """Folder for the results; default: the next free runs/spectrum-NNN."""
    resume: bool = False
    """Go on with an interrupted run in the folder --out, whose finished layers are kept."""
    overwrite: bool = False
    """Replace the results that the output folder holds."""
    json: bool = False
    """Print one JSON object with all rows as the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        nulls = self.nulls if self.nulls is None else positive_int("nulls", self.nulls, minimum=0)
        options = Options(positive_int("resamples", self.resamples, minimum=20), self.seed, nulls, self.quick)
        key, descending = sort_key(self.sort)
        jobs = positive_int("jobs", self.jobs)
        found = units_of(self.file, self.layout, self.split, self.start).only(self.only)
        started = time.monotonic()
        kept = Kept((self.file, self.start), (options, self.layout, self.split, self.figures))
        folder, known = self._begun(found, kept)
        rows: list[dict] = []
        plots: list[Drawn] = []
        skipped = [{"name": a.name, "reason": a.why} for a in found.accounts if a.done == "refused"]
        alone = len(found.units) + len(skipped) == 1  # then the error says why
        for refused in skipped if not alone else ():
            terminal.warn(f"{refused['name']} skipped: {refused['reason']}")
        if known:
            terminal.print(f"{len(known)} of {len(found.units)} layers are finished")
        left = [unit for index, unit in enumerate(found.units) if index not in known]
        if len(left) > 1:
            terminal.print(estimate(left, options, jobs))
        recipe = Recipe(self.file, self.layout, self.split, self.start, self.only)
        try:
            with terminal.progress("analysing", unit="flop") as update:
                results = walk(found, options, update, jobs, recipe, known)
                for index, (unit, result) in enumerate(zip(found.units, results, strict=True)):
                    layer = known[index] if result is None else layer_of(result)
                    if layer.row is None:
                        skipped.append({"name": unit.name, "reason": layer.problem})
                        if not alone:
                            terminal.warn(f"{unit.name} skipped: {layer.problem}")
                    else:
                        rows.append(layer.row)
                        plots.append(Drawn(layer.row, layer.svg))
                        # Only now is there something to write: bad input leaves no folder behind.
                        if folder is None:
                            ordered(rows, key, descending)
                            folder = self._folder()
                        if self.figures and result is not None and result.spectrum is not None:
                            draw(result.spectrum, folder, len(rows))
                    if folder is not None and index not in known:
                        kept.put(folder, index, unit, layer)
        except KeyboardInterrupt as stop:
            if folder is not None:
                stop.args = (f"interrupted; go on with dysonjax resume {shlex.quote(str(folder))}",)
            raise
        if not rows or folder is None:
            reasons = [(one["name"], one["reason"]) for one in skipped]
            raise InputError(nothing_in(self.file, found, reasons))
        matrices = ordered(rows, key, descending)
        summary = {
            "command": "spectrum",
            "file": str(self.file),
            "out": str(folder),
            "matrices": matrices,
            "skipped": skipped,
            "not_matrices": sum(account.done == "skipped" for account in found.accounts),
            "format": found.format,
            "framework": found.framework,
            "tensors": [asdict(account) for account in found.accounts],
            "notes": list(found.notes),
            "complete": not skipped,
            "seconds": time.monotonic() - started,
            "version": __version__,
        }
        write_summary(folder, summary)
        if self.csv:
            write_csv(folder / "spectrum.csv", matrices)
        files.put(folder / "report.html", page(summary, plots, found))
        kept.remove(folder)
        print_table(terminal, summary)
        return summary

    def _begun(self, found: Units, kept: Kept) -> tuple[Path | None, dict[int, Layer]]:
        """The folder of a run that was killed, and its finished layers; without --resume there are none."""
        if not self.resume:
            return None, {}
        if self.out is None:
            raise InputError("--resume needs --out, the folder of the run that was killed")
        if not isinstance(run_folder.read(self.out), Spectrum):
            raise InputError(f"{self.out} is not a folder of dysonjax spectrum")
        take_up(self.out)
        layers = ((index, kept.load(self.out, index, unit)) for index, unit in enumerate(found.units))
        return self.out, {index: layer for index, layer in layers if layer is not None}

    def _folder(self) -> Path:
        folder = output_folder(self.out, "spectrum", self.overwrite)
        run_folder.write(folder, self)
        return folder
