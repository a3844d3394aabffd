"""dysonjax: SGD as Dyson Brownian motion, on ensembles of networks, in JAX."""

__version__ = "0.1.0"

from dysonjax import compare, dyson, models, phase, spectra
from dysonjax.checks import InputError
from dysonjax.ensemble import Grid, Optimizer, Run, estimate, log_spaced, one_device_per_core, read, train

__all__ = [
    "Grid",
    "InputError",
    "Optimizer",
    "Run",
    "compare",
    "dyson",
    "estimate",
    "log_spaced",
    "models",
    "one_device_per_core",
    "phase",
    "read",
    "spectra",
    "train",
]
