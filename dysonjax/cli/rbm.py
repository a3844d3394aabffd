"""`dysonjax rbm`: an ensemble of Gaussian RBMs, its levels and its degenerate pairs."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from dysonjax.cli.arrays import read_array
from dysonjax.cli.common import EXECUTION, Execution, parse_values
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.training import Training, TrainingOptions, train

# The published weights start with a width of 0.1, which is sigma_W = 0.1 √10.
DEFAULTS = TrainingOptions(lr="0.1", batch_size="16", sigma_w="0.31622776601683794", seeds=512, steps=8000)


@dataclasses.dataclass(frozen=True)
class Rbm:
    """Train Gaussian RBMs by persistent contrastive divergence and compare their levels with theory.

    Writes rbm.png/.pdf (levels over time, their density, spacings of degenerate pairs against the surmise,
    mean spacing over temperature), run.zarr (everything recorded) and summary.json. Levels are eigenvalues of
    X = sigma_h^2 W^T W. The defaults are the published setting.
    """

    texts: ClassVar[dict[str, str]] = {
        "sigma-w": "Initial weight widths sigma_W: weights start from N(0, sigma_W^2/N_v).",
        "batch-size": "Mini-batch sizes |B|, Markov chains.",
    }

    training: Training = DEFAULTS
    visible: int | None = None
    """Visible components N_v; default: the width of the target, else 10."""
    hidden: int | None = None
    """Hidden components N_h; default: as many as visible ones."""
    mu: float = 3.0
    """Parameter mu of the energy; the target's precisions must lie below mu^2."""
    sigma_h: float = 1.0
    """Standard deviation of the hidden components."""
    k: int = 3
    """Gibbs sweeps in a step."""
    mass: float = 2.0
    """Mass of the lattice scalar field that is learned, lattice units; not used with another target."""
    kappa: str | None = None
    """Eigenvalues of the target's precision as a list, instead of a lattice field."""
    covariance: Path | None = None
    """File (.npy, .npz, .csv) with the target's covariance matrix, instead of a lattice field."""
    data: Path | None = None
    """File (.npy, .npz, .csv) with samples as rows; the data term is then drawn in mini-batches."""
    sampler: Literal["gibbs", "collapsed"] = "gibbs"
    """gibbs: sweep by sweep; collapsed: k sweeps in one draw of the same law, several times faster."""
    dynamics: Literal["pcd", "langevin", "langevin-chains"] = "pcd"
    """pcd: Markov chains; langevin: exact mean, Gaussian noise; langevin-chains: noise with their memory."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble, models
        from dysonjax.cli.level_report import report
        from dysonjax.models.predictions import rbm_pair

        ensemble.one_device_per_core()
        model = models.rbm(
            self.visible,
            self.hidden,
            self.mu,
            self.sigma_h,
            self.k,
            mass=self.mass,
            kappa=None if self.kappa is None else parse_values("kappa", self.kappa),
            covariance=None if self.covariance is None else read_array("covariance", self.covariance),
            data=None if self.data is None else read_array("data", self.data),
            sampler=self.sampler,
            dynamics=self.dynamics,
        )
        result, folder = train(self, model, terminal)
        if folder is None:
            return {"command": "rbm", **result._asdict()}

        def predict(target, point):
            if self.training.optimizer != "sgd" or self.training.weight_decay:
                return np.nan  # the theory is that of plain gradient steps
            kappa = self.mu**2 - target
            return rbm_pair(
                kappa, point["lr"], point["batch_size"], self.mu, self.sigma_h, self.k
            ).mean_spacing

        return report("rbm", result, folder, terminal, predict)
