"""`dysonjax linear`: an ensemble of linear networks with one hidden layer, its singular values and pairs."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from dysonjax import checks
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
    basis: Literal["symmetric", "rotation", "orthogonal"] = "symmetric"
    """How the teacher is drawn; only symmetric has clean pair laws."""
    z_ratio: str | None = None
    """Smallest over largest singular value of Z, above 0 and at most 1: a number, a list or a range. The
    largest one and the directions are those of --z."""
    epsilon: str = "0.1"
    """Standard deviation of the noise of one sample: a number, a list or a range."""
    noise: Literal["gradient", "label"] = "gradient"
    """gradient: a symmetric matrix added to the gradient; label: a normal vector added to the label."""
    dynamics: Literal["sgd", "langevin"] = "sgd"
    """sgd: mini-batches; langevin: exact mean gradient and Gaussian noise of the same covariance."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble, models
        from dysonjax.analysis.optimizers import motion
        from dysonjax.cli.level_report import report
        from dysonjax.ensemble.optimizers import from_label
        from dysonjax.models.linear import Z_PRESETS
        from dysonjax.models.predictions import linear_pair, linear_two_species_spacing

        ensemble.one_device_per_core()
        epsilon = parse_values("epsilon", self.epsilon, checks.finite)
        model = models.linear(
            self.z if self.z in Z_PRESETS or "." not in self.z else read_array("z", Path(self.z)),
            None if self.teacher is None else read_array("teacher", self.teacher),
            values=parse_values("values", self.values),
            basis=self.basis,
            epsilon=epsilon[0],
            noise=self.noise,
            dynamics=self.dynamics,
        )
        scalars = {"epsilon": epsilon} if len(epsilon) > 1 else {}
        if self.z_ratio is not None:
            scalars["z_ratio"] = parse_values("z_ratio", self.z_ratio)
        result, folder = train(self, model, terminal, scalars=scalars)
        if folder is None:
            return {"command": "linear", **result._asdict()}
        z = np.linalg.svd(np.array(model.config["z"]), compute_uv=False)
        values = np.array(model.config["values"] or [])
        # A pair has a closed form if gradient noise acts on modes of Z that are alike, or on just the two.
        two = len(z) == len(values) == 2 and np.ptp(values) == 0 and self.basis == "symmetric"
        alike = np.ptp(z) < 1e-9 * z[0] and self.z_ratio is None

        optimizer = ensemble.configuration(result.dataset)["optimizer"]
        plain, own = optimizer == "sgd", from_label(optimizer)
        constant = own.schedule == "constant"

        def predict(target, point):
            if not plain:
                if not (two and alike and z[0] == 1 and self.noise == "gradient" and constant):
                    return np.nan
                place = (point.get("epsilon", epsilon[0]), point["lr"], point["batch_size"])
                return np.broadcast_to(motion(own, *place).mean_spacing, (len(point["lr"]), len(target)))
            strength, lr, size = point.get("epsilon", epsilon[0]), point["lr"], point["batch_size"]
            if self.noise == "gradient" and alike:
                return np.broadcast_to(
                    linear_pair(strength, lr, size, z[0]).mean_spacing, (len(lr), len(target))
                )
            if self.noise == "gradient" and two:
                smallest = z[0] * point["z_ratio"] if "z_ratio" in point else z[1]
                return linear_two_species_spacing(strength, lr, size, z[0], smallest)
            return np.nan

        return report(
            "linear", result, folder, terminal, predict, singular_values=True, extra={"z": z.tolist()}
        )
