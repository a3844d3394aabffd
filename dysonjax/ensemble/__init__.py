"""Everything that knows there are many networks: grid, keys, tiles, training loop, devices, results."""

from dysonjax.ensemble.devices import one_device_per_core
from dysonjax.ensemble.grid import Grid, log_spaced
from dysonjax.ensemble.interrupts import Interrupted
from dysonjax.ensemble.results import configuration, intact, read
from dysonjax.ensemble.training import Plan, Run, check, estimate, resume, train

__all__ = [
    "Grid",
    "Interrupted",
    "Plan",
    "Run",
    "check",
    "configuration",
    "estimate",
    "intact",
    "log_spaced",
    "one_device_per_core",
    "read",
    "resume",
    "train",
]
