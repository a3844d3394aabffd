"""`dysonjax advise MODEL`: where training will converge, from short runs."""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from dysonjax import __version__, checks
from dysonjax.cli import run_folder
from dysonjax.cli.common import EXECUTION, Execution, draw, output_folder, parse_integers, write_summary
from dysonjax.cli.compile_cache import compiling
from dysonjax.cli.output import computed
from dysonjax.cli.terminal import Terminal

# Region of interest and length by model: the published setting of each. The RBM's noise leaves a floor of
# 1 to 5 % of its first loss, reached only late: it needs a higher threshold and longer pilots.
DEFAULTS = {
    "teacher-student": {"lr": (0.125, 256.0), "sigma_w": (0.125, 256.0), "batch_size": 4, "steps": 20_000},
    "rbm": {"lr": (0.005, 1.0), "sigma_w": (0.03, 3.0), "batch_size": 16, "steps": 4000},
    "linear": {"lr": (0.01, 4.0), "sigma_w": (0.05, 8.0), "batch_size": 4, "steps": 2000},
}
THRESHOLD = {"teacher-student": 0.03, "rbm": 0.1, "linear": 0.03}
MAP_POINTS = 60  # along each axis of the figure


@dataclasses.dataclass(frozen=True)
class Advise:
    """Predict the converged window in (alpha/|B|, sigma_W) of a built-in model from short pilot runs and from
    curvature and noise of the gradient. For a model of your own use dysonjax.advise(model) in Python. The
    advice is for plain gradient steps, so that there is none for nanogpt and its AdamW.

    Writes advice.png/.pdf (window and predicted loss with the evidence) and summary.json. Every seed has a
    prediction of its own; edges are the median over seeds with the range of the middle 68 per cent.
    """

    model: Annotated[
        Literal["teacher-student", "rbm", "linear"] | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="{teacher-student,rbm,linear}"),
    ] = None
    """A built-in model, in the published setting."""
    lr: str | None = None
    """First and last learning rate alpha of interest, as in 0.125:256; default: from the model."""
    sigma_w: str | None = None
    """First and last initial weight width sigma_W, as in 0.125:256; default: from the model."""
    batch_size: int | None = None
    """Mini-batch size |B|; default: from the model."""
    steps: int | None = None
    """Training steps that the advice is for; default: from the model."""
    pilot_steps: int | None = None
    """Length of the pilot runs; default: a tenth of the steps, for rbm half of them."""
    points: int = 6
    """Values of alpha and of sigma_W at which pilots run."""
    seeds: int = 8
    """Networks at each pilot point."""
    threshold: float | None = None
    """Converged: training loss below this fraction of the smallest median loss before training; default
    0.03, for rbm 0.1."""
    widths: str = "3,32,16,1"
    """teacher-student: neurons of each layer, input first."""
    devices: str | None = None
    """Number of devices, or cpu, gpu, tpu; default: all that JAX finds."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import advice, ensemble

        if not self.model:
            raise checks.InputError(f"name a model: {', '.join(DEFAULTS)}")
        default = DEFAULTS[checks.one_of("model", self.model, list(DEFAULTS))]
        ensemble.one_device_per_core()
        chosen: dict[str, Any] = {
            "lr": _region("lr", self.lr) or default["lr"],
            "sigma_w": _region("sigma_w", self.sigma_w) or default["sigma_w"],
            "batch_size": default["batch_size"] if self.batch_size is None else self.batch_size,
            "steps": default["steps"] if self.steps is None else self.steps,
        }
        options: dict[str, Any] = {"points": self.points, "seeds": self.seeds}
        options["threshold"] = THRESHOLD[self.model] if self.threshold is None else self.threshold
        options["pilot_steps"] = self.pilot_steps
        if self.pilot_steps is None and self.model == "rbm":
            options["pilot_steps"] = max(2, chosen["steps"] // 2)
        options |= {"key": checks.seed("seed", self.execution.seed), "devices": self.devices}
        model = self._model()
        advice.check(**chosen, **options)
        folder = output_folder(self.execution.out, "advise", self.execution.overwrite)
        run_folder.write(folder, self)
        terminal.print(compiling(f"{self.points**2 * self.seeds} pilot networks"))
        with terminal.progress("pilot runs", "network-steps") as progress:
            found = advice.advise(model, **chosen, **options, progress=progress)
        computed(folder)
        summary = {"command": "advise", "out": str(folder), "model": self.model, **chosen, **_summary(found)}
        summary |= {"device": ensemble.devices.named(), "version": __version__}
        write_summary(folder, summary)
        caption = f"{self.model}, {chosen['steps']} steps"
        draw(terminal, folder, "advice", lambda: _figure(found, chosen["batch_size"], caption))
        _tables(found, chosen["batch_size"], terminal)
        terminal.print(summary["verdict"])
        terminal.print(f"wrote {folder}/advice.png, advice.pdf, summary.json")
        return summary

    def _model(self):
        from dysonjax import models

        if self.model == "teacher-student":
            return models.teacher_student(parse_integers("widths", self.widths))
        return models.rbm(sampler="collapsed") if self.model == "rbm" else models.linear()


def _region(name: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError:
        raise checks.InputError(f"{name} must be of the form FIRST:LAST, got {text!r}") from None
    return first, last


def _summary(found) -> dict:
    """JSON values of an `Advice`."""
    window = found.window
    rows = [
        {
            "sigma_w": float(width),
            "share": float(window["share"][i]),
            **{
                f"{name}_{quantile:g}": _number(window[name][i, q])
                for name in ("lr_low", "lr_high")
                for q, quantile in enumerate(window["quantile"].values)
            },
        }
        for i, width in enumerate(window["sigma_w"].values)
    ]
    evidence = {"sigma_w": found.evidence["sigma_w"].values.tolist()}
    for name in found.evidence:
        evidence[name] = [_number(v) for v in found.evidence[name].median("seed").values]
    return {"window": rows, "evidence": evidence, "best": found.best, "verdict": _verdict(found)}


def _verdict(found) -> str:
    good = found.window["share"].values >= 0.5
    if not good.any():
        return "No converged window is predicted in this region: train longer, or look elsewhere."
    widths = found.window["sigma_w"].values[good]
    best = found.best
    return (
        f"A converged window is predicted for sigma_W from {widths.min():.3g} to {widths.max():.3g}; the "
        f"lowest loss, {best['loss']:.2g}, at alpha = {best['lr']:.3g} (alpha/|B| = "
        f"{best['temperature']:.3g}) and sigma_W = {best['sigma_w']:.3g}, where "
        f"{100 * best['share']:.0f} % of the seeds converge."
    )


def _figure(found, batch_size: int, caption: str):
    from dysonjax.figures.advice import converged_window

    pilot = found.pilot
    rates, widths = (
        np.geomspace(v[0], v[-1], MAP_POINTS) for v in (pilot["lr"].values, pilot["sigma_w"].values)
    )
    lr, sigma_w = (a.ravel() for a in np.meshgrid(rates, widths, indexing="ij"))
    shape = (MAP_POINTS, MAP_POINTS)
    loss = found.loss(lr, sigma_w)
    return converged_window(
        rates,
        widths,
        (loss < found.threshold).mean(axis=-1).reshape(shape),
        np.median(loss, axis=-1).reshape(shape),
        found.evidence,
        pilot["lr"].values,
        found.best,
        batch_size,
        f"{caption}, |B| = {batch_size}; {pilot.sizes['seed']} seeds, "
        f"pilots of {int(pilot['record'][-1])} steps",
    )


def _tables(found, batch_size: int, terminal: Terminal) -> None:
    window, evidence = found.window, found.evidence
    terminal.table(
        "predicted window: median over seeds and its middle 68 %",
        ["sigma_W", "alpha from", "to", "alpha/|B| to", "seeds"],
        [
            [
                f"{width:.3g}",
                _range(window["lr_low"].values[i]),
                _range(window["lr_high"].values[i]),
                f"{window['lr_high'].values[i, 1] / batch_size:.3g}",
                f"{100 * float(window['share'][i]):.0f} %",
            ]
            for i, width in enumerate(window["sigma_w"].values)
            if i % 2 == 0 and np.isfinite(window["lr_high"].values[i, 1])
        ],
    )
    median = evidence.median("seed")
    terminal.table(
        "gradient: curvature h along its steepest direction, noise",
        ["sigma_W", "<h>", "alpha stable, 2/<h>", "in mean square, 2<h>/<h^2>", "signal/noise"],
        [
            [f"{width:.3g}", *(_short(float(median[name][i])) for name in evidence)]
            for i, width in enumerate(evidence["sigma_w"].values)
        ],
    )


def _short(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "-"  # no edge where the loss is concave


def _range(values) -> str:
    return f"{values[1]:.3g} ({values[0]:.3g} ... {values[2]:.3g})"


def _number(value) -> float | None:
    return float(value) if np.isfinite(value) else None
