"""dysonjax: SGD as Dyson Brownian motion, on ensembles of networks, in JAX.

Names are loaded at their first use, so that `import dysonjax` costs milliseconds and `dysonjax --help` does
not wait for JAX.
"""

import importlib
import os

TYPE_CHECKING = False  # a checker takes it as true; `typing` costs as much as all else here
if TYPE_CHECKING:  # what `__getattr__` gives
    from dysonjax import compare, dyson, models, spectra
    from dysonjax.advice import advise
    from dysonjax.analysis import attention, phase
    from dysonjax.checks import InputError, RunError
    from dysonjax.ensemble import (
        Grid,
        Interrupted,
        Optimizer,
        Run,
        estimate,
        log_spaced,
        member_of,
        one_device_per_core,
        read,
        resume,
        train,
        train_each,
        verify,
        world_of,
    )
    from dysonjax.ensemble.merge import merge
    from dysonjax.layers import spectrum

__version__ = "0.1.0"

_HOME = {  # public name: the module that defines it; a home that ends in the name is itself meant
    "Grid": "ensemble",
    "InputError": "checks",
    "Interrupted": "ensemble",
    "Optimizer": "ensemble",
    "Run": "ensemble",
    "advise": "advice",
    "RunError": "checks",
    "attention": "analysis.attention",
    "compare": "compare",
    "dyson": "dyson",
    "estimate": "ensemble",
    "log_spaced": "ensemble",
    "member_of": "ensemble",
    "merge": "ensemble",
    "models": "models",
    "one_device_per_core": "ensemble",
    "phase": "analysis.phase",
    "read": "ensemble",
    "resume": "ensemble",
    "spectra": "spectra",
    "spectrum": "layers",
    "train": "ensemble",
    "train_each": "ensemble",
    "verify": "ensemble",
    "world_of": "ensemble",
}
__all__ = [
    "Grid",
    "InputError",
    "Interrupted",
    "Optimizer",
    "Run",
    "RunError",
    "advise",
    "attention",
    "compare",
    "dyson",
    "estimate",
    "log_spaced",
    "member_of",
    "merge",
    "models",
    "one_device_per_core",
    "phase",
    "read",
    "resume",
    "spectra",
    "spectrum",
    "train",
    "train_each",
    "verify",
    "world_of",
]


def _load(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'dysonjax' has no attribute {name!r}; it has {', '.join(__all__)}")
    if _HOME[name] != "checks" and "XLA_FLAGS" in os.environ:
        from dysonjax import xla_flags

        xla_flags.check()  # the last moment at which wrong ones do not end the process
    module = importlib.import_module(f"dysonjax.{_HOME[name]}")
    value = module if _HOME[name].split(".")[-1] == name else getattr(module, name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a checker that knew of it would take any name
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
