"""`dysonjax dyson`: integrate Dyson Brownian motion and hold its end against the stationary law."""

import dataclasses
import math
from typing import Literal

from dysonjax import __version__
from dysonjax.checks import InputError, finite, memory, positive, positive_int
from dysonjax.cli import run_folder
from dysonjax.cli.common import EXECUTION, Execution, output_folder, write_summary
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
    quartic -x^3 - omega x; free 0."""
    levels: int = 10
    """Number of levels N."""
    members: int = 2000
    """Number of independent copies."""
    time: float = 6.0
    """Length of the trajectories, in units of 1/omega (rbm: tau = 2 sigma_h^2 lr t)."""
    steps: int = 600
    """Number of time steps."""
    method: Literal["implicit", "matrix", "euler"] = "implicit"
    """Integrator; matrix needs equal g2 and beta 1, 2 or 4; euler is for comparison."""
    beta: float = 1.0
    """Dyson index, >= 1; 1 for real matrices."""
    g2: str = "1"
    """Noise strength g^2, units of x^2 over time: a number or one per level, as in 0.1,0.2. For wishart the
    constant c of g^2 = c x. For rbm `theory` gives 2 temperature ((mu2 - kappa)/kappa)^2."""
    omega: str = "1"
    """Stiffness of the potential, 1/time: a number or one per level (quadratic, linear_network)."""
    center: str = "0"
    """Minimum of the quadratic potential: a number or one per level (linear_network: the teacher)."""
    shape: float = 2.0
    """Push away from zero of laguerre and wishart."""
    mu2: float = 9.0
    """Squared mass of the RBM."""
    kappa: str = "lattice"
    """Target precisions of the RBM, one per level; `lattice` is 6 - 2 cos(2 pi n/N)."""
    temperature: float = 0.1 / 16
    """lr/batch size for `--g2 theory`."""
    start: str = "mp"
    """First levels: mp (a Marchenko-Pastur draw per member, as for random weights), wishart (the spectrum of
    one random N x 2N matrix per member), or N numbers such as -1,0,1 that all members share."""
    start_scale: float = 0.1
    """Mean level of the mp and wishart starts, units of x."""
    records: int = 61
    """Stored times, the start and the end included."""
    samples: int = 4000
    """Draws of the stationary law."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        import jax
        import numpy as np

        from dysonjax import dyson, threefry
        from dysonjax.ensemble import one_device_per_core
        from dysonjax.figures.dyson import dyson_figure
        from dysonjax.figures.style import save
        from dysonjax.spectra import permutation_test, wasserstein
        from dysonjax.spectra.distances import chance_distance

        one_device_per_core()
        n, members = positive_int("levels", self.levels), positive_int("members", self.members, 2)
        steps, samples = positive_int("steps", self.steps), positive_int("samples", self.samples, 2)
        stored = members * (positive_int("records", self.records, 2) + 2) + samples
        memory(f"{members} members of {n} levels", 8 * n * stored, "take fewer of them, or of records")
        potential, g2 = self._problem(n)
        keys = [threefry.derive(threefry.root(self.execution.seed), number) for number in range(3)]
        x0 = self._first_levels(keys[0], n, members)
        # The stationary law comes first: without one there is nothing to compare with.
        gas = dyson.CoulombGas(potential, g2, self.beta, n)
        folder = output_folder(self.execution.out, "dyson", self.execution.overwrite)
        run_folder.write(folder, self)
        with terminal.progress("dyson") as update:
            path = dyson.integrate(
                potential, g2, x0, self.time, steps, self.beta, keys[1], method=self.method,
                records=self.records, progress=update,
            )  # fmt: skip
        terminal.print("sampling the stationary law")
        stationary = gas.sample(keys[2], samples)
        end = path.levels[:, -1]
        test = permutation_test(end, stationary, n=999, seed=self.execution.seed)
        spacings = np.diff(end, axis=1)
        device = jax.devices()[0]
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
            "stationary_levels_mean": stationary.mean(0).tolist(),
            "stationary_levels_std": stationary.std(0, ddof=1).tolist(),
            "wasserstein": float(test.statistic),
            "wasserstein_levels": wasserstein(end, stationary, levels="each").tolist(),
            "wasserstein_by_chance": chance_distance(end, stationary),
            "wasserstein_pooled": wasserstein(end, stationary, levels="pooled"),
            "p_value": float(test.p_value),
            "level_steps_per_second": path.level_steps_per_second,
            "seconds": path.seconds,
            "compile_seconds": path.compile_seconds,
            "device": f"{device.device_kind} x {jax.local_device_count()}",
            "version": __version__,
        }
        np.savez_compressed(
            folder / "levels.npz", levels=path.levels, times=path.times, stationary=stationary
        )
        title = f"{self.potential}, N = {n}, β = {self.beta:g}, {members} members"
        save(dyson_figure(path.times, path.levels, stationary, title), folder, "dyson")
        write_summary(folder, summary)
        self._report(terminal, end, stationary, summary)
        return summary

    def _report(self, terminal: Terminal, end, stationary, summary: dict) -> None:
        from dysonjax.spectra.averages import mean_and_sem

        rows = []
        for k in range(end.shape[1]):
            a, b = end[:, k], stationary[:, k]
            (mean, error), (other, its_error) = mean_and_sem(a), mean_and_sem(b)
            z = (mean - other) / math.hypot(error, its_error)
            rows.append(
                [str(k + 1), f"{mean:.5g}", f"{other:.5g}", f"{z:+.1f}",
                 f"{a.std():.4g}", f"{b.std():.4g}"]
            )  # fmt: skip
        columns = ["level", "mean", "stationary", "z", "std", "stationary"]
        terminal.table("end of the trajectories and the stationary law", columns, rows)
        terminal.print(
            f"Wasserstein distance {summary['wasserstein']:.4f} of a level's own width, mean over levels (by "
            f"chance {summary['wasserstein_by_chance']:.4f}), p = {summary['p_value']:.3f}; pooled "
            f"{summary['wasserstein_pooled']:.4f} of the width of the spectrum; "
            f"{summary['level_steps_per_second'] / 1e6:.3g} M level-steps/s; files in {summary['out']}"
        )

    def _problem(self, n: int):
        import numpy as np

        from dysonjax import dyson

        omega = self._values("omega", self.omega, n)
        center = self._values("center", self.center, n)
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
            return dyson.laguerre(omega, self.shape), g2
        if self.potential == "wishart":
            if np.ndim(g2):
                raise InputError("g2 must be one number for the wishart potential, the c of g^2 = c x")
            return dyson.wishart(omega, self.shape), dyson.SquareRoot(float(g2))
        if self.potential == "linear_network":
            return dyson.linear_network(center, omega), g2
        if self.potential == "quartic":
            return dyson.quartic(1.0, omega), g2
        return dyson.free(), g2

    def _first_levels(self, key, n: int, members: int):
        import numpy as np

        from dysonjax.spectra import MarchenkoPastur, sample_wishart

        scale = positive("start_scale", self.start_scale)
        if self.start == "wishart":
            return sample_wishart(key, n, 2 * n, math.sqrt(scale / (2 * n)), (members,))
        if self.start == "mp":
            law = MarchenkoPastur(ratio=0.5, sigma2=scale)
            return np.sort(law.rvs((members, n), np.random.default_rng(self.execution.seed)), axis=1)
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
