"""Averages over the seeds of a grid point, of which some died."""

import numpy as np
import xarray as xr

import dysonjax as dj
from tests.calibration.frame import Coverage, inside

RECORDS = 2
MEAN, SPREAD = -3.0, 0.5  # of log10 of the loss over members
GROWTH = 1.0  # mean of the logarithm of a level's growth
TRUTH = {"log10_test_loss": MEAN, "growth_rate": GROWTH / 100}
NUMBERS = ("train_loss", "feature_overlap", "feature_memory", "field_alignment",
           "field_alignment_per_sample", "field_alignment_per_feature")  # fmt: skip


def _run(rng, seeds: int, dead: int) -> xr.Dataset:
    """A run at one point whose seeds differ in their loss; `dead` of them, drawn at random, diverged."""
    each = ("batch_size", "lr", "sigma_w", "seed", "record")
    alive = np.repeat(rng.permutation(seeds)[:, None] >= dead, RECORDS, axis=1)
    # The levels of a member grow together, with its own factor.
    growth = rng.normal(GROWTH, 0.4, (seeds, 1, 1)) + np.zeros((seeds, 1, 4))
    levels = np.exp(np.concatenate([np.zeros((seeds, 1, 4)), growth], axis=1)) * np.arange(1, 5)
    loss = 10.0 ** rng.normal(MEAN, SPREAD, (seeds, RECORDS))
    loss[~alive] = 1e20
    variables = {name: (each, loss[None, None, None]) for name in ("test_loss", *NUMBERS)}
    variables["alive"] = (each, alive[None, None, None])
    variables["eigenvalues"] = ((*each, "mode"), levels[None, None, None])
    return xr.Dataset(variables, {"batch_size": [4], "lr": [0.5], "sigma_w": [1.0], "record": [0, 100]})


def _covers(seeds: int, dead: int, name: str = "log10_test_loss"):
    def experiment(rng):
        found = dj.phase.observables(_run(rng, seeds, dead)).squeeze()
        return inside(TRUTH[name], float(found[name]), float(found[f"{name}_err"]))

    return experiment


CASES = [
    Coverage("mean log loss of a phase point, 60 seeds alive", _covers(60, 0)),
    Coverage("mean log loss of a phase point, 60 seeds of which half died", _covers(60, 30)),
    Coverage("growth rate of a phase point, 60 seeds of which half died", _covers(60, 30, "growth_rate")),
    Coverage("mean log loss of a phase point, 400 seeds of which 95 % died", _covers(400, 380)),
]
