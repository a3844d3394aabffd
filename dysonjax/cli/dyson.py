"""`dysonjax dyson`: integrate Dyson Brownian motion and hold its end against the stationary law."""

import dataclasses
import math
import warnings
from typing import Any, Literal

from dysonjax import __version__, files
from dysonjax.checks import InputError, finite, memory, positive, positive_int, seed
from dysonjax.cli import run_folder
from dysonjax.cli.common import EXECUTION, Execution, draw, output_folder, write_summary
from dysonjax.cli.output import computed
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Dyson:
    """Integrate Dyson Brownian motion dx_i = (K_i + beta sum_j g_i^2/(x_i - x_j)) dt + sqrt(2) g_i dB_i.

    The end is compared with the stationary law (the Coulomb gas) level by level: by the Wasserstein distance
    in units of that level's own width, averaged over the levels (`wasserstein` in the summary;
    `wasserstein_pooled` is that of all levels together in units of the width of the whole spectrum), and by a
    permutation test over members. Writes dyson.png, dyson.pdf, levels.npz and summary.json.
    """

    potential: Literal["quadratic", "laguerre", "wishart", "rbm", "linear_network", "quartic", "free"] = (
        "quadratic"
    )
    """Drift: quadratic -omega (x - center); laguerre shape/x - omega; wishart shape - omega x with noise
    proportional to sqrt(x); rbm (1/kappa - 1/(mu2 - x)) x; linear_network 2 omega (teacher sqrt(x) - x);
    quartic -x^3 - omega x, two wells for omega < 0; free 0, which has no stationary law to compare with."""
    levels: int = 10
    """Number of levels N."""
    members: int = 2000
    """Number of independent copies."""
    time: float = 6.0
    """Length of the trajectories, in units of 1/omega (rbm: tau = 2 sigma_h^2 lr t)."""
    steps: int = 600
    """Number of time steps."""
    method: Literal["implicit", "matrix", "euler"] = "implicit"
    """Integrator; matrix needs equal constant g2 (no wishart) and beta 1, 2 or 4; euler is for comparison."""
    beta: float = 1.0
    """Dyson index, >= 1; 1 for real matrices."""
    g2: str = "1"
    """Noise strength g^2, units of x^2 over time: a number or one per level, as in 0.1,0.2. For wishart the
    constant c of g^2 = c x. For rbm `theory` gives 2 temperature ((mu2 - kappa)/kappa)^2."""
    omega: str = "1"
    """Stiffness of the potential, 1/time: a number or one per level (all but rbm and free)."""
    center: str | None = None
    """Minimum of the quadratic potential (default 0) or singular value of the teacher (linear_network,
    default 2): a number or one per level."""
    shape: float = 2.0
    """Push away from zero of laguerre and wishart."""
    mu2: float = 9.0
    """Squared mass of the RBM."""
    kappa: str = "lattice"
    """Target precisions of the RBM, one per level; `lattice` is 6 - 2 cos(2 pi n/N)."""
    temperature: float = 0.1 / 16
    """lr/batch size for `--g2 theory`."""
    start: str = "mp"
    """First levels: mp (those of a random N x 2N matrix per member, drawn exactly; their mean density tends
    to the Marchenko-Pastur law), wishart (the same law), or N numbers such as -1,0,1 that all members
    share."""
    start_scale: float = 0.1
    """Mean level of the mp and wishart starts, units of x."""
    records: int = 61
    """Stored times, the start and the end included."""
    samples: int = 4000
    """Draws of the stationary law."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        import numpy as np

        from dysonjax import dyson, threefry
        from dysonjax.dyson.problem import check
        from dysonjax.ensemble import devices, one_device_per_core
        from dysonjax.figures.dyson import dyson_figure

        one_device_per_core()
        n, members = positive_int("levels", self.levels), positive_int("members", self.members, 2)
        steps, samples = positive_int("steps", self.steps), positive_int("samples", self.samples, 2)
        root = seed("seed", self.execution.seed)
        # Trajectories are kept once, copied once to be saved; draws are sorted into permutations.
        stored = members * (2 * positive_int("records", self.records, 2) + 4) + 4 * samples
        memory(f"{members} members of {n} levels", 8 * n * stored, "take fewer of them, or of records")
        potential, g2 = self._problem(n)
        keys = [threefry.derive(threefry.root(root), number) for number in range(3)]
        x0 = self._first_levels(keys[0], n, members)
        arguments: dict[str, Any] = {"method": self.method, "records": self.records}
        check(potential, g2, x0, self.time, steps, self.beta, keys[1], **arguments)
        gas = None if self.potential == "free" else dyson.CoulombGas(potential, g2, self.beta, n)
        # The stationary law comes first: if it cannot be sampled, nothing has been computed in vain.
        stationary = None if gas is None else self._draws(terminal, gas, keys[2], samples)
        folder = output_folder(self.execution.out, "dyson", self.execution.overwrite)
        run_folder.write(folder, self)
        with terminal.progress("dyson") as update:
            path = dyson.integrate(
                potential, g2, x0, self.time, steps, self.beta, keys[1], progress=update, **arguments
            )
        computed(folder)
        end = path.levels[:, -1]
        spacings = np.diff(end, axis=1)
        summary = {
            "command": "dyson",
            "out": str(folder),
            "potential": self.potential,
            "method": self.method,
            "levels": n,
            "members": members,
            "steps": path.steps,
            "time": self.time,
            "levels_mean": end.mean(0).tolist(),
            "levels_std": end.std(0, ddof=1).tolist(),
            "spacing_mean": float(spacings.mean()) if n > 1 else None,
            **self._comparison(gas, path, stationary),
            "level_steps_per_second": path.level_steps_per_second,
            "seconds": path.seconds,
            "compile_seconds": path.compile_seconds,
            "device": devices.named(),
            "version": __version__,
        }
        law = {} if stationary is None else {"stationary": stationary}
        with files.aside(folder / "levels.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(file, levels=path.levels, times=path.times, **law)
        title = f"{self.potential}, N = {n}, β = {self.beta:g}, {members} members"
        write_summary(folder, summary)
        draw(terminal, folder, "dyson", lambda: dyson_figure(path.times, path.levels, stationary, title))
        self._report(terminal, end, stationary, summary)
        return summary

    def _draws(self, terminal: Terminal, gas, key, samples: int):
        terminal.print("sampling the stationary law")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            drawn = gas.sample(key, samples)
        for one in caught:
            terminal.warn(str(one.message))
        return drawn

    def _comparison(self, gas, path, stationary) -> dict:
        """What the summary says about the end and the stationary law; None throughout where there is none."""
        import numpy as np

        from dysonjax import dyson
        from dysonjax.spectra import permutation_test, wasserstein
        from dysonjax.spectra.distances import chance_distance

        names = (
            "stationary_levels_mean", "stationary_levels_std", "wasserstein", "wasserstein_levels",
            "wasserstein_by_chance", "wasserstein_pooled", "p_value", "wells", "crossings",
            "mixed_between_wells",
        )  # fmt: skip
        if stationary is None:
            return dict.fromkeys(names)
        end = path.levels[:, -1]
        test = permutation_test(end, stationary, n_resamples=999, key=self.execution.seed)
        wells = dyson.mixing(gas, path, stationary)
        values = (
            stationary.mean(0).tolist(),
            stationary.std(0, ddof=1).tolist(),
            float(test.distance),
            list(map(float, np.ravel(wasserstein(end, stationary, comparison="each")))),
            chance_distance(end, stationary),
            wasserstein(end, stationary, comparison="pooled"),
            float(test.p_value),
            1 if wells is None else wells.wells,
            None if wells is None else wells.crossings,
            None if wells is None else wells.mixed,
        )
        return dict(zip(names, values, strict=True))

    def _report(self, terminal: Terminal, end, stationary, summary: dict) -> None:
        speed = f"{summary['level_steps_per_second'] / 1e6:.3g} M level-steps/s; files in {summary['out']}"
        if stationary is None:
            terminal.print(
                f"levels that only repel each other have no stationary law to compare with; {speed}"
            )
            return
        rows = []
        for k in range(end.shape[1]):
            a, b = end[:, k], stationary[:, k]
            z = difference(a, b)
            rows.append(
                [str(k + 1), f"{a.mean():.5g}", f"{b.mean():.5g}", f"{z:+.1f}", f"{a.std():.4g}",
                 f"{b.std():.4g}"]
            )  # fmt: skip
        columns = ["level", "mean", "stationary", "z", "std", "stationary"]
        terminal.table("end of the trajectories and the stationary law", columns, rows)
        if summary["mixed_between_wells"] is False:
            terminal.warn(
                f"the {summary['wells']} wells are not filled as in the stationary law, and members passed a "
                f"barrier only {summary['crossings']:.2g} times: distance and p-value tell of the start, not "
                "of the dynamics; lengthen --time or start elsewhere"
            )
        elif summary["mixed_between_wells"] is None and summary["wells"] > 1:
            terminal.print(
                f"the {summary['wells']} wells are filled as in the stationary law, but members passed a "
                f"barrier only {summary['crossings']:.2g} times: they may have started so"
            )
        terminal.print(
            f"Wasserstein distance {summary['wasserstein']:.4f} of a level's own width, mean over levels (by "
            f"chance {summary['wasserstein_by_chance']:.4f}), p = {summary['p_value']:.3f}; pooled "
            f"{summary['wasserstein_pooled']:.4f} of the width of the spectrum; {speed}"
        )

    def _problem(self, n: int):
        import numpy as np

        from dysonjax import dyson

        omega = self._values("omega", self.omega, n)
        default = "2" if self.potential == "linear_network" else "0"
        center = self._values("center", default if self.center is None else self.center, n)
        if self.g2 == "theory" and self.potential != "rbm":
            raise InputError("g2 = theory is known for the rbm potential only; give numbers")
        if self.potential == "rbm":
            modes = np.arange(n)
            kappa = (
                np.sort(6 - 2 * np.cos(2 * np.pi * modes / n))[::-1]
                if self.kappa == "lattice"
                else self._values("kappa", self.kappa, n)
            )
            potential = dyson.rbm(positive("mu2", self.mu2), np.broadcast_to(kappa, (n,)))
            if self.g2 == "theory":
                temperature = positive("temperature", self.temperature)
                return potential, np.broadcast_to(2 * temperature * ((self.mu2 - kappa) / kappa) ** 2, (n,))
            return potential, self._values("g2", self.g2, n)
        g2 = self._values("g2", self.g2, n)
        if self.potential == "quadratic":
            return dyson.quadratic(omega, center), g2
        if self.potential == "laguerre":
            return dyson.laguerre(omega, positive("shape", self.shape)), g2
        if self.potential == "wishart":
            if np.ndim(g2):
                raise InputError("g2 must be one number for the wishart potential, the c of g^2 = c x")
            return dyson.wishart(omega, positive("shape", self.shape)), dyson.SquareRoot(float(g2))
        if self.potential == "linear_network":
            return dyson.linear_network(center, omega), g2
        if self.potential == "quartic":
            return dyson.quartic(1.0, omega), g2
        return dyson.free(), g2

    def _first_levels(self, key, n: int, members: int):
        import numpy as np

        from dysonjax.spectra import sample_beta_laguerre

        scale = positive("start_scale", self.start_scale)
        if self.start in ("mp", "wishart"):
            return sample_beta_laguerre(key, n, 2 * n, 1.0, math.sqrt(scale / (2 * n)), (members,))
        x = np.broadcast_to(self._values("start", self.start, n), (n,))
        return np.tile(x, (members, 1))

    def _values(self, name: str, text: str, n: int):
        """A number, or an array of n numbers, from comma-separated text."""
        import numpy as np

        try:
            values = [finite(name, float(part)) for part in text.split(",")]
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} must be a number or {n} numbers a,b,…, got {text!r}") from None
        if len(values) not in (1, n):
            raise InputError(f"{name} must be one number or {n} numbers, got {len(values)}")
        return np.float64(values[0]) if len(values) == 1 else np.array(values)


def difference(a, b) -> float:
    """Difference of the means of independent draws in standard errors."""
    from dysonjax.spectra.averages import mean_and_sem

    (mean, error), (other, its_error) = mean_and_sem(a), mean_and_sem(b)
    both = math.hypot(error, its_error)
    return (mean - other) / both if both > 0 else math.nan
