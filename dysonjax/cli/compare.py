"""`dysonjax compare`: one system from SGD to closed forms, and what each approximation costs."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dysonjax import __version__, checks, files
from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.arrays import read_array
from dysonjax.cli.common import (
    EXECUTION,
    Execution,
    draw,
    output_folder,
    parse_integers,
    parse_values,
    write_summary,
)
from dysonjax.cli.output import computed
from dysonjax.cli.terminal import Terminal

QUICK_MEMBERS, QUICK_STEPS = 100, {"rbm": 4000, "linear": 1000}


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare five descriptions of learning, each with one approximation more: SGD, matrix Langevin, Dyson
    Brownian motion of the levels, its stationary Coulomb gas, closed forms of isolated levels.

    Effect sizes are Wasserstein distances over the width of a level, averaged over levels; p-values come from
    relabelling whole members. Writes compare.png/.pdf, levels.npz (all rungs) and summary.json; for a grid of
    alpha and |B| also a figure for every point. Levels are eigenvalues of X = sigma_h^2 W^T W (rbm) or
    singular values of W (linear).
    """

    system: Annotated[
        Literal["rbm", "linear"] | None, tyro.conf.Positional, tyro.conf.arg(metavar="{rbm,linear}")
    ] = None
    """rbm: Gaussian RBM with persistent contrastive divergence; linear: linear network with a fixed Z."""
    members: int | None = None
    """Members of every rung; default: 500."""
    steps: int | None = None
    """Training steps; default: 8000 (rbm), 5000 (linear), times 0.1 / lr below lr = 0.1."""
    lr: str = "0.1"
    """Learning rates alpha, dimensionless: a number, a list or a range; the ladder at each of them."""
    batch_size: str = "16"
    """Mini-batch sizes |B|, samples (or Markov chains); likewise."""
    sigma_w: float | None = None
    """Initial weight width sigma_W: weights start from N(0, sigma_W^2/n); default: 0.1 sqrt(n)."""
    noise: Literal["theory", "measured"] = "theory"
    """Drift and noise of the Dyson motion: theory, or measured from the end of the SGD run."""
    order: int = 1
    """Order of the Dyson motion in sqrt(alpha/|B|): 1 as printed; 2 adds g_i g_j, Ito drift and the mixing of
    eigenvectors, and then has no stationary law in closed form."""
    visible: int | None = None
    """rbm: visible components; default: the width of the target, else 10."""
    mu: float | None = None
    """rbm: parameter mu of the energy; default: 3."""
    sigma_h: float | None = None
    """rbm: standard deviation of the hidden components; default: 1."""
    k: int | None = None
    """rbm: Gibbs sweeps in a step; default: 3."""
    kappa: str | None = None
    """rbm: eigenvalues of the target's precision as a list, instead of a lattice field."""
    mass: float | None = None
    """rbm: mass of the lattice scalar field that is learned, lattice units; default: 2."""
    covariance: Path | None = None
    """rbm: file (.npy, .npz, .csv) with the target's covariance matrix, instead of a lattice field."""
    data: Path | None = None
    """rbm: file (.npy, .npz, .csv) with samples as rows; the data term is then drawn in mini-batches."""
    sampler: Literal["gibbs", "collapsed"] | None = None
    """rbm: collapsed (default, k sweeps in one draw) or gibbs (sweep by sweep), one law."""
    values: str | None = None
    """linear: singular values of the teacher; default: 2,2."""
    epsilon: float | None = None
    """linear: standard deviation of the noise of one sample; default: 0.1."""
    z: str | None = None
    """linear: the fixed matrix Z: identity (default), equal, unequal, or a file (.npy, .npz, .csv)."""
    noise_of: Literal["gradient", "label"] | None = None
    """linear: gradient (default), a symmetric matrix added to it; or label, a vector added to the label."""
    permutations: int = 999
    """Relabellings for each p-value."""
    quick: bool = False
    """100 members and fewer steps, in under a minute; --members and --steps still count."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import compare
        from dysonjax.ensemble import devices, one_device_per_core

        if self.system is None:
            raise InputError("name a system: rbm or linear")
        one_device_per_core()
        options = self._model_options()
        lr, batch_size = parse_values("lr", self.lr), parse_integers("batch_size", self.batch_size)
        steps = QUICK_STEPS.get(self.system) if self.quick and self.steps is None else self.steps
        members = self.members if self.members is not None else QUICK_MEMBERS if self.quick else 500
        # Everything that can be wrong with the input is found before the folder is made.
        compare.check(
            self.system, lr, batch_size, self.sigma_w, members, steps, self.noise, self.order,
            checks.seed("seed", self.execution.seed), self.permutations, options,
        )  # fmt: skip
        folder = output_folder(self.execution.out, "compare", self.execution.overwrite)
        run_folder.write(folder, self)
        count = len(lr) * len(batch_size)
        where = f" at each of {count} points" if count > 1 else ""
        terminal.print(f"{self.system}: {members} members of every rung{where}")
        with terminal.progress("rungs", "%") as progress:
            ladders = compare.ladders(
                self.system, lr=lr, batch_size=batch_size, sigma_w=self.sigma_w, members=members, steps=steps,
                noise=self.noise, order=self.order, key=self.execution.seed, permutations=self.permutations,
                progress=lambda done, total: progress(100 * done, 100 * total), **options,
            )  # fmt: skip
        points = [compare.summarise(ladder).formerly() for ladder in ladders]  # JSON keys stay
        summary = {
            "command": "compare",
            "out": str(folder),
            "members": members,
            "steps": ladders[0].training_steps,
            "seconds": round(sum(ladder.seconds for ladder in ladders), 3),
            "device": devices.named(),
            "version": __version__,
            "noise": self.noise,
            "seed": self.execution.seed,
            **{name: value for name, value in options.items() if name not in ("covariance", "data")},
        }
        if count == 1:
            summary |= points[0]
        else:
            summary |= {"system": self.system, "points": points, "verdict": compare.overview(ladders)}
        computed(folder)
        write_summary(folder, summary)
        self._write(folder, ladders, terminal)
        for ladder in ladders:
            if count > 1:
                terminal.print(f"\nalpha = {ladder.lr:g}, |B| = {ladder.batch_size}")
            _report(terminal, ladder, compare.mean_and_sem)
        if count > 1:
            terminal.print(f"\n{summary['verdict']}")
        terminal.print(f"wrote {folder}/compare.png, compare.pdf, levels.npz, summary.json")
        return summary

    def _write(self, folder: Path, ladders, terminal: Terminal) -> None:
        """levels.npz and figures; with a grid, names carry the number of the point, and one figure more."""
        import numpy as np

        from dysonjax.compare import mean_and_sem
        from dysonjax.figures.compare import grid_figure, ladder_figure

        levels: dict[str, Any] = {}
        for number, ladder in enumerate(ladders):
            suffix = f"_{number}" if len(ladders) > 1 else ""
            levels |= {name.replace(" ", "_") + suffix: x for name, x in ladder.levels.items()}
        with files.aside(folder / "levels.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(file, **levels)
        for number, ladder in enumerate(ladders):
            suffix = f"_{number}" if len(ladders) > 1 else ""
            figure = functools.partial(
                ladder_figure,
                {name: mean_and_sem(x) for name, x in ladder.levels.items()},
                ladder.targets,
                ladder.sigma,
                {
                    f"{s.first}\n→ {s.second}": (s.wasserstein, s.chance, s.p_value)
                    for s in ladder.comparisons
                },
                "eigenvalues of $X$" if self.system == "rbm" else "singular values of $W$",
                rf"{self.system}: $\alpha={ladder.lr:g}$, $|B|={ladder.batch_size}$, "
                f"{len(ladder.levels['SGD'])} members, {ladder.training_steps} steps, "
                f"noise from {self.noise}, order {self.order}",
            )
            draw(terminal, folder, f"compare{suffix}", figure)
        if len(ladders) > 1:
            costs: dict[str, list] = {}
            for ladder in ladders:
                for s in ladder.comparisons:
                    point = ladder.lr / ladder.batch_size, s.wasserstein, s.chance
                    costs.setdefault(f"{s.first} → {s.second}", []).append(point)
            title = f"{self.system}: {len(ladders)} grid points"
            draw(terminal, folder, "compare", lambda: grid_figure(costs, title))

    def _model_options(self) -> dict:
        """The options of the model that were given, as values."""
        from dysonjax.compare import OPTIONS
        from dysonjax.models.linear import Z_PRESETS

        names = dict.fromkeys(name for options in OPTIONS.values() for name in options)
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        for name in given.keys() & {"kappa", "values"}:
            given[name] = parse_values(name, given[name])
        for name in given.keys() & {"covariance", "data"}:
            given[name] = read_array(name, given[name])
        if "." in given.get("z", "") and given["z"] not in Z_PRESETS:
            given["z"] = read_array("z", Path(given["z"])).tolist()
        return given


def _report(terminal: Terminal, ladder, mean_and_sem) -> None:
    import numpy as np

    rows, spacings = [], []
    averages = [mean_and_sem(x) for x in ladder.levels.values()]
    gaps = [mean_and_sem(np.diff(x)) for x in ladder.levels.values()]
    for i, target in enumerate(ladder.targets):
        rows.append([str(i + 1), f"{target:.4f}", *(f"{m[i]:.4f} ± {e[i]:.4f}" for m, e in averages)])
    for i in range(len(ladder.targets) - 1):
        spacings.append([f"{i + 1}-{i + 2}", *(f"{m[i]:.4f} ± {e[i]:.4f}" for m, e in gaps)])
    terminal.table("mean levels", ["level", "target", *ladder.levels], rows)
    terminal.table("mean spacings", ["levels", *ladder.levels], spacings)
    steps = []
    for s in ladder.comparisons:
        shifts = [f"{100 * v:+.2f} ± {100 * e:.2f} %" for v, e in (s.level_shift, s.spacing_shift)]
        effects = [s.wasserstein, s.chance, s.p_value, s.wasserstein_levels.max()]
        z = [np.abs(s.z_levels).max(), np.abs(s.z_spacings).max(initial=0)]
        steps.append([_name(s), *(f"{v:.3f}" for v in effects), *(f"{v:.1f}" for v in z), *shifts])
    columns = ["step", "effect", "by chance", "p", "largest effect", "largest |z| level",
               "largest |z| spacing", "levels", "spacings"]  # fmt: skip
    terminal.table("what each approximation changes", columns, steps)
    z = [
        [_name(s), kind, " ".join(f"{v:+.1f}" for v in values)]
        for s in ladder.comparisons
        for kind, values in (("levels", s.z_levels), ("spacings", s.z_spacings))
    ]
    terminal.table("z-scores, from the lowest", ["step", "of", "z"], z)
    for note in ladder.notes:
        terminal.print(f"note: {note}")
    terminal.print(ladder.verdict)


def _name(step) -> str:
    return f"{step.first} -> {step.second}"
