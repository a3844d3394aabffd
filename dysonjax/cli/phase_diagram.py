"""`dysonjax phase-diagram`: the teacher-student grid, its phases, boundaries and pictures."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from dysonjax import checks
from dysonjax.cli.common import EXECUTION, Execution, draw, parse_integers, speed, write_drawn, write_summary
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.training import Training, TrainingOptions, train

if TYPE_CHECKING:  # loaded while processes that draw are on their way, not before
    import xarray as xr

PUBLISHED_GRID = {"lr": "0.125:256:x2", "sigma_w": "0.125:256:x2", "batch_size": "4"}
DEFAULTS = TrainingOptions(records="21")  # the rest comes from the preset
PRESETS = {
    "quick": {
        "lr": "0.125:256:x2",
        "sigma_w": "0.125:256:x2",
        "batch_size": "4",
        "seeds": 8,
        "steps": 20_000,
    },
    "paper": {
        "lr": "0.125:256:x2",
        "sigma_w": "0.125:256:x2",
        "batch_size": "4",
        "seeds": 100,
        "steps": 100_000_000,
    },
}


@dataclasses.dataclass(frozen=True)
class PhaseDiagram:
    """Train teacher-student networks over a grid of learning rate and weight disorder; draw their phases.

    Writes phase_diagram.png/.pdf (test loss, feature overlap, field alignment, phases with the boundary
    lines), spectra.png/.pdf (squared singular values in the three phases), run.zarr (everything recorded) and
    summary.json. Grid and length come from the preset where they are not given. Ranges: 0.1,0.5 is a list,
    0.125:256:x2 doubles, 0.01:0.1:10 are ten linear steps.
    """

    from_preset: ClassVar[tuple[str, ...]] = tuple(PRESETS["quick"])  # where they are not given

    preset: Literal["quick", "paper"] = "quick"
    """quick: 12x12 points, 8 seeds, 20 000 steps, about ten seconds; paper: 100 seeds, 10^8 steps.
    |B| = 4."""
    training: Training = DEFAULTS
    widths: str = "3,32,16,1"
    """Neurons of each layer, input first."""
    activation: Literal["tanh", "relu", "identity"] = "tanh"
    """Activation of the hidden layers."""
    train: Literal["middle", "all"] = "middle"
    """middle: first and last matrix are the teacher's (published setting); all: every matrix is learned."""
    data: Literal["fixed", "online"] = "fixed"
    """fixed: the same batches in every epoch; online: fresh samples in every step."""
    batches: int = 1000
    """Number of batches in the fixed data set."""
    label_noise: float = 0.0
    """Standard deviation of Gaussian noise on the training targets."""
    threshold_loss: float = 0.03
    """Converged: test loss below this fraction of the targets' mean square."""
    threshold_memory: float = 0.5
    """Jammed, not divergent: cosine between features and initial features above this."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.figures.artist import artists

        with artists(0 if self.training.dry_run else 2) as there:
            return self._run(terminal, there)

    def _run(self, terminal: Terminal, there: list) -> dict:
        from dysonjax import ensemble, models
        from dysonjax.analysis import phase

        ensemble.one_device_per_core()
        preset = PRESETS[checks.one_of("preset", self.preset, list(PRESETS))]
        unset: dict[str, Any] = {
            name: value for name, value in preset.items() if getattr(self.training, name) is None
        }
        command = dataclasses.replace(self, training=dataclasses.replace(self.training, **unset))
        thresholds = phase.Thresholds(
            checks.positive("threshold_loss", self.threshold_loss),
            checks.positive("threshold_memory", self.threshold_memory),
        )
        if thresholds.memory > 1:
            raise checks.InputError(f"threshold_memory is a cosine, at most 1, got {thresholds.memory}")
        model = models.teacher_student(
            parse_integers("widths", self.widths),
            activation=self.activation,
            train=self.train,
            data=self.data,
            batches=self.batches,
            label_noise=self.label_noise,
        )
        done, folder = train(command, model, terminal)
        if folder is None:
            return {"command": "phase-diagram", **done._asdict()}
        summary = {"command": "phase-diagram", "out": str(folder), **done.summary}
        summary |= analyse(done.dataset, thresholds, folder, terminal, there)
        write_summary(folder, summary)
        terminal.print(speed(summary))
        pictures = ", ".join(sorted(path.name for path in folder.glob("*.png")))
        terminal.print(f"wrote {folder}/{pictures}, run.zarr, summary.json")
        return summary


def analyse(dataset: xr.Dataset, thresholds, folder: Path, terminal: Terminal, there: list) -> dict:
    """Classify, draw, and return the part of the summary that is about phases. there: who draws."""
    from dysonjax.analysis import phase
    from dysonjax.figures.artist import figure

    averages = phase.observables(dataset)
    phases = phase.classify(dataset, thresholds)
    jamming = phase.jamming_line(dataset)
    steps, seeds = int(dataset["record"][-1]), dataset.sizes["seed"]
    pictures = {}
    for index, batch_size in enumerate(dataset["batch_size"].values):
        suffix = "" if dataset.sizes["batch_size"] == 1 else f"_{batch_size}"
        caption = f"|B| = {batch_size}, {seeds} seeds, {steps} steps"
        of_size = dataset.isel(batch_size=[index])
        pictures[f"phase_diagram{suffix}"] = functools.partial(
            figure, "phase_diagram", "phase_diagram",
            averages.isel(batch_size=index), phases.isel(batch_size=index), jamming,
            phase.noise_line(of_size), seeds, caption, phase.noise_line(of_size, criterion="variance"),
        )  # fmt: skip
    typical = phase.typical_members(dataset, phases)
    if typical:
        pictures["spectra"] = functools.partial(figure, "phase_diagram", "spectra_of_phases", typical)
    begun = {name: artist.ask(make) for artist, (name, make) in zip(there, pictures.items(), strict=False)}
    counts = phase.count(phases)
    converged = phase.convergence_line(phases)
    noise = {name: phase.noise_line(dataset, criterion=name) for name in phase.CRITERIA}
    for name, make in pictures.items():
        if name not in begun:
            draw(terminal, folder, name, make)
    for name, drawn in begun.items():
        write_drawn(terminal, folder, name, drawn)
    terminal.table(
        "phases",
        ["phase", "points", "seeds that agree"],
        [
            [name, str(counts[name]), _percent(phases["agreement"].where(phases["point"] == index).mean())]
            for index, name in enumerate(phase.PHASES)
        ],
    )
    return {
        "phases": counts,
        "boundary_jamming": {
            "inverse_sigma_w": float(jamming.published),
            "inverse_sigma_w_measured": float(jamming.measured),
        },
        "boundary_noise": {
            "sigma_w": dataset["sigma_w"].values.tolist(),
            "temperature_converged_or_undecided": _numbers(phase.convergence_line(phases, undecided=True)),
            **_lines(noise["published"], ""),
            **_lines(noise["variance"], "_variance"),
            "temperature_converged": _numbers(converged),
        },
    }


def _lines(noise: xr.DataArray, suffix: str) -> dict[str, list[float | None]]:
    """A noise line by contour; null where no temperature of the grid is one."""
    return {f"temperature{suffix}_{c:g}": _numbers(noise.sel(contour=c)) for c in noise["contour"].values}


def _percent(value) -> str:
    return "-" if np.isnan(value) else f"{100 * float(value):.0f} %"


def _numbers(array: xr.DataArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in array.values]
