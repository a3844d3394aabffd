"""Everything that knows there are many networks: grid, keys, tiles, training loop, devices, results."""

from dysonjax.ensemble.devices import one_device_per_core
from dysonjax.ensemble.grid import Grid, log_spaced
from dysonjax.ensemble.optimizers import Optimizer
from dysonjax.ensemble.results import configuration, read
from dysonjax.ensemble.training import Plan, Run, check, estimate, train

__all__ = [
    "Grid",
    "Optimizer",
    "Plan",
    "Run",
    "check",
    "configuration",
    "estimate",
    "log_spaced",
    "one_device_per_core",
    "read",
    "train",
]
