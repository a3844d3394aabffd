"""Levels of trained ensembles at rest: many late records of every member, errors over members.

Once a member fluctuates about its target, its late records are draws of the stationary law, correlated in
time. Their average over time says as much as several members would; members stay the unit of resampling.
"""

import dataclasses

import numpy as np

from dysonjax.ensemble import Grid, train
from dysonjax.models.base import Model
from dysonjax.models.predictions import degenerate_pairs
from dysonjax.published.recipe import Progress
from dysonjax.spectra import bootstrap
from dysonjax.spectra.averages import mean_and_sem


@dataclasses.dataclass(frozen=True)
class Equilibrium:
    """Levels of an ensemble at rest, at every grid point.

    levels: (points, members, records, modes), ascending. A member that diverged at any point is left out at
    all of them, because the points of a seed share their noise. targets: (modes,).
    """

    lr: np.ndarray  # (points,)
    batch_size: np.ndarray  # (points,)
    levels: np.ndarray
    targets: np.ndarray
    steps: int
    diverged: int

    @property
    def temperature(self) -> np.ndarray:
        """T = α/|B|, (points,)."""
        return self.lr / self.batch_size

    @property
    def members(self) -> int:
        return self.levels.shape[1]

    @property
    def pairs(self) -> np.ndarray:
        """Indices i of the degenerate pairs (i, i + 1)."""
        return degenerate_pairs(self.targets)

    def pair(self, point: int, first: int) -> np.ndarray:
        """Both levels of a pair at all records, (members, 2·records)."""
        return self.levels[point][:, :, first : first + 2].reshape(self.members, -1)

    def spacings(self) -> np.ndarray:
        """S of the pairs, (points, members, records, pairs)."""
        return np.diff(self.levels, axis=-1)[..., self.pairs]

    def mean(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error of values (points, members, records, n), each (points, n)."""
        return mean_and_sem(values.mean(axis=2), axis=1)

    def joint(self, values: np.ndarray, statistic, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
        """A statistic of the averages over records, (points, members, k), and its error.

        Members are drawn at all points together: noise that the points of a seed share is counted once.
        """
        found = bootstrap(values.mean(axis=2), statistic, n_resamples=n)
        return found.estimate, found.estimate_err

    def size(self) -> str:
        """What was computed, for a caption."""
        text = (
            f"α = {numbers(self.lr)}, |B| = {numbers(self.batch_size)}; {self.members} seeds (root seed 0), "
            f"{self.steps} steps, {self.levels.shape[2]} records of the second half"
        )
        return text + (f"; {self.diverged} seeds left out, where a member diverged" if self.diverged else "")


def equilibrium(
    model: Model,
    lr,
    batch_size,
    sigma_w: float,
    seeds: int,
    steps: int,
    *,
    records: int = 9,
    singular_values: bool = False,
    progress: Progress | None = None,
) -> Equilibrium:
    """Train for `steps` steps and keep `records` records of the second half, at every point of the grid."""
    kept = np.linspace(steps / 2, steps, records).round().astype(int).tolist()
    grid = Grid(lr=lr, batch_size=batch_size, sigma_w=sigma_w, seeds=seeds)
    dataset = train(model, grid, steps, kept, progress=progress).dataset.isel(sigma_w=0)
    # Not alive at the last record means frozen somewhere on the way.
    alive = dataset["alive"].isel(record=-1).transpose("seed", ...).values.reshape(seeds, -1).all(axis=1)
    levels = dataset["eigenvalues"].transpose("batch_size", "lr", "seed", "record", "mode").values
    levels = levels.reshape(-1, *levels.shape[2:])[:, alive]
    targets = dataset["target_eigenvalues"].values.reshape(-1, levels.shape[-1])[0]
    b, a = np.meshgrid(dataset["batch_size"].values, dataset["lr"].values, indexing="ij")
    root = np.sqrt if singular_values else np.asarray
    return Equilibrium(a.ravel(), b.ravel(), root(levels), root(targets), steps, int((~alive).sum()))


def numbers(values) -> str:
    """A list of numbers for a caption."""
    return ", ".join(f"{value:g}" for value in np.unique(values))
