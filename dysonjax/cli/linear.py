"""`dysonjax linear`: an ensemble of linear networks with one hidden layer, its singular values and pairs."""

import dataclasses
from pathlib import Path

import numpy as np

from dysonjax.cli.arrays import read_array
from dysonjax.cli.common import EXECUTION, Execution, parse_values
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.training import Training, TrainingOptions, train

# The published weights start with a width of 0.1, which is sigma_W = 0.1 √2; ten epochs of 500 batches.
DEFAULTS = TrainingOptions(lr="0.1", batch_size="16", sigma_w="0.1414213562373095", seeds=500, steps=5000)


@dataclasses.dataclass(frozen=True)
class Linear:
    """Train linear networks against a teacher with degenerate levels and compare their levels with theory.

    Writes linear.png/.pdf (levels over time, their density, spacings of degenerate pairs against the
    surmise, mean spacing over temperature), run.zarr (everything recorded) and summary.json. Levels are
    singular values of W.
    """

    training: Training = DEFAULTS
    z: str = "identity"
    """The fixed matrix Z: identity, equal, unequal, or a file (.npy, .npz, .csv)."""
    teacher: Path | None = None
    """File with the teacher's matrix; default: drawn for every seed from --values and --basis."""
    values: str = "2,2"
    """Singular values of the teacher; equal ones make degenerate levels."""
    basis: str = "symmetric"
    """How the teacher is drawn: symmetric, rotation or orthogonal; only the first has clean pair laws."""
    epsilon: float = 0.1
    """Standard deviation of the noise of one sample."""
    noise: str = "gradient"
    """gradient: a symmetric matrix added to the gradient; label: a normal vector added to the label."""
    dynamics: str = "sgd"
    """sgd: mini-batches; langevin: exact mean gradient and Gaussian noise of the same covariance."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble, models
        from dysonjax.cli.level_report import report
        from dysonjax.models.linear import Z_PRESETS
        from dysonjax.models.predictions import linear_pair

        ensemble.one_device_per_core()
        model = models.linear(
            self.z if self.z in Z_PRESETS or "." not in self.z else read_array("z", Path(self.z)),
            None if self.teacher is None else read_array("teacher", self.teacher),
            values=parse_values("values", self.values),
            basis=self.basis,
            epsilon=self.epsilon,
            noise=self.noise,
            dynamics=self.dynamics,
        )
        result, folder = train(self, model, terminal)
        if folder is None:
            return {"command": "linear", **result._asdict()}
        z = np.linalg.svd(np.array(model.config["z"]), compute_uv=False)
        # There is a closed form where all modes of Z are alike and the noise is that of the gradient.
        known = np.ptp(z) < 1e-9 * z[0] and self.noise == "gradient"

        def predict(target, lr, batch_size):
            epsilon = self.epsilon if known else np.nan
            return linear_pair(np.broadcast_to(epsilon, target.shape), lr, batch_size, float(z[0]))

        return report(
            "linear", result, folder, terminal, predict, singular_values=True, extra={"z": z.tolist()}
        )
