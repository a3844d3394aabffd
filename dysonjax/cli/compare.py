"""`dysonjax compare`: one system from SGD to closed forms, and what each approximation costs."""

import dataclasses

import tyro

from dysonjax import __version__
from dysonjax.cli import run_folder
from dysonjax.cli.common import EXECUTION, Execution, output_folder, parse_values, write_summary
from dysonjax.cli.terminal import Terminal

QUICK = {"members": 100, "steps": {"rbm": 4000, "linear": 1000}}


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare five descriptions of learning, each with one approximation more: SGD, matrix Langevin, Dyson
    Brownian motion of the levels, its stationary Coulomb gas, closed forms of isolated levels.

    Effect sizes are Wasserstein distances over the width of a level, averaged over levels; p-values come from
    relabelling whole members. Writes compare.png/.pdf, levels.npz (all rungs) and summary.json. Levels are
    eigenvalues of X = sigma_h^2 W^T W (rbm) or singular values of W (linear).
    """

    system: tyro.conf.Positional[str] = ""
    """rbm: Gaussian RBM with persistent contrastive divergence; linear: linear network with Z = 1."""
    members: int | None = None
    """Members of every rung; default 500."""
    steps: int | None = None
    """Training steps; default 8000 (rbm), 5000 (linear)."""
    lr: float = 0.1
    """Learning rate alpha, dimensionless."""
    batch_size: int = 16
    """Mini-batch size |B|, samples (or Markov chains)."""
    sigma_w: float | None = None
    """Initial weight width sigma_W: weights start from N(0, sigma_W^2/n); default 0.1 sqrt(n)."""
    noise: str = "theory"
    """Drift and noise of the Dyson motion: theory, or measured from the end of the SGD run."""
    mu: float | None = None
    """rbm: parameter mu of the energy; default 3."""
    sigma_h: float | None = None
    """rbm: standard deviation of the hidden components; default 1."""
    k: int | None = None
    """rbm: Gibbs sweeps in a step; default 3."""
    kappa: str | None = None
    """rbm: eigenvalues of the target's precision as a list; default a lattice field with 4...8."""
    sampler: str | None = None
    """rbm: collapsed (default, k sweeps in one draw) or gibbs (sweep by sweep), one law."""
    values: str | None = None
    """linear: singular values of the teacher; default 2,2."""
    epsilon: float | None = None
    """linear: standard deviation of the gradient noise of one sample; default 0.1."""
    permutations: int = 999
    """Relabellings for each p-value."""
    quick: bool = False
    """100 members and fewer steps, in under a minute; --members and --steps still count."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        import jax
        import numpy as np

        from dysonjax import compare
        from dysonjax.ensemble import one_device_per_core
        from dysonjax.figures.compare import ladder_figure
        from dysonjax.figures.style import save

        one_device_per_core()
        options, seed = self._model_options(), self.execution.seed
        steps = QUICK["steps"].get(self.system) if self.quick and self.steps is None else self.steps
        members = self.members if self.members is not None else QUICK["members"] if self.quick else 500
        # Everything that can be wrong with the input is found before the folder is made.
        compare.check(
            self.system, self.lr, self.batch_size, self.sigma_w, members, steps, self.noise, seed,
            self.permutations, options,
        )  # fmt: skip
        folder = output_folder(self.execution.out, "compare", self.execution.overwrite)
        run_folder.write(folder, self)
        terminal.print(f"{self.system}: {members} members of every rung; this takes a minute or two")
        ladder = compare.ladder(
            self.system, lr=self.lr, batch_size=self.batch_size, sigma_w=self.sigma_w, members=members,
            steps=steps, noise=self.noise, seed=seed, permutations=self.permutations, **options,
        )  # fmt: skip
        device = f"{jax.local_device_count()} x {jax.devices()[0].device_kind}"
        summary = {
            "command": "compare",
            "out": str(folder),
            "members": members,
            "steps": ladder.training_steps,
            "seconds": round(ladder.seconds, 3),
            "device": device,
            "version": __version__,
            **{name: getattr(self, name) for name in ("lr", "batch_size", "noise")},
            "seed": seed,
            **options,
            **compare.summarise(ladder),
        }
        np.savez_compressed(
            folder / "levels.npz", **{name.replace(" ", "_"): x for name, x in ladder.levels.items()}
        )
        figure = ladder_figure(
            {name: compare.mean_and_sem(x) for name, x in ladder.levels.items()},
            ladder.targets,
            ladder.sigma,
            {f"{s.first}\n→ {s.second}": (s.wasserstein, s.chance, s.p_value) for s in ladder.steps},
            "eigenvalues of $X$" if self.system == "rbm" else "singular values of $W$",
            rf"{self.system}: $\alpha={self.lr:g}$, $|B|={self.batch_size}$, {members} members, "
            f"{ladder.training_steps} steps, noise from {self.noise}",
        )
        save(figure, folder, "compare")
        write_summary(folder, summary)
        _report(terminal, ladder, compare.mean_and_sem)
        terminal.print(f"wrote {folder}/compare.png, compare.pdf, levels.npz, summary.json")
        return summary

    def _model_options(self) -> dict:
        """The options of the model that were given, as values."""
        names = ("mu", "sigma_h", "k", "kappa", "sampler", "values", "epsilon")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        for name in given.keys() & {"kappa", "values"}:
            given[name] = parse_values(name, given[name])
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
    for s in ladder.steps:
        shifts = [f"{100 * v:+.2f} ± {100 * e:.2f} %" for v, e in (s.level_shift, s.spacing_shift)]
        effects = [s.wasserstein, s.chance, s.p_value, s.wasserstein_levels.max()]
        z = [np.abs(s.z_levels).max(), np.abs(s.z_spacings).max(initial=0)]
        steps.append([_name(s), *(f"{v:.3f}" for v in effects), *(f"{v:.1f}" for v in z), *shifts])
    columns = ["step", "effect", "by chance", "p", "largest effect", "largest |z| level",
               "largest |z| spacing", "levels", "spacings"]  # fmt: skip
    terminal.table("what each approximation changes", columns, steps)
    z = [
        [_name(s), kind, " ".join(f"{v:+.1f}" for v in values)]
        for s in ladder.steps
        for kind, values in (("levels", s.z_levels), ("spacings", s.z_spacings))
    ]
    terminal.table("z-scores, from the lowest", ["step", "of", "z"], z)
    for note in ladder.notes:
        terminal.print(f"note: {note}")
    terminal.print(ladder.verdict)


def _name(step) -> str:
    return f"{step.first} -> {step.second}"
