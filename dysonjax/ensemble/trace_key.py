"""All that the traced programs of a job depend on, as a key under which `traces` keeps them.

The model by its fingerprint, the code of this package, versions, JAX's settings, the processor. The
library never keeps traces: it is the commands that turn it on, see `cli/compile_cache.py`.
"""

import contextlib
import functools
import importlib.metadata
import os
import platform

import jax

from dysonjax import cache
from dysonjax.compile import kept
from dysonjax.ensemble import fingerprint, machine, processes
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.optimizers import Optimizer
from dysonjax.ensemble.thresholds import VALUES
from dysonjax.ensemble.traces import Traces
from dysonjax.models.base import Model

LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "optax", "flax", "ml_dtypes")


def traces(model: Model, config: Config, batch_size: int) -> Traces:
    """Of the job of a batch size; nothing is kept unless a command asked for it and the model is known."""
    devices = tuple(config.devices)
    try:
        return Traces(_key(model, config, batch_size), devices)
    except (fingerprint.Unknown, OSError):  # or code that lies in no folder
        return Traces(None, devices)


def _key(model: Model, config: Config, batch_size: int) -> str | None:
    since = os.environ.get(cache.TRACES)
    on_this_cpu = config.devices[0].platform == "cpu" and processes.count() == 1
    if not since or not on_this_cpu or not isinstance(config.optimizer, Optimizer):
        return None
    if machine.code_changed() >= float(since):  # what runs here may be older
        return None
    return kept.key(*ingredients(model, config, batch_size))


def ingredients(model: Model, config: Config, batch_size: int) -> list[str]:
    """All that a traced program depends on, besides the shapes of its arguments; raises Unknown."""
    optimizer = config.optimizer
    steps = config.steps if optimizer.schedule != "constant" or optimizer.warmup else None
    # Where compiled programs are kept changes none of them, and is changed while others compile.
    names = [name for name in jax.config.values if "compilation_cache" not in name]
    settings = {name: getattr(jax.config, name, jax.config.values[name]) for name in names}
    return [
        fingerprint.of(model),
        fingerprint.of((optimizer, steps)),
        repr((batch_size, config.common, config.precision, config.x64)),
        repr([(device.id, device.device_kind) for device in config.devices]),
        repr(sorted(settings.items())),
        repr(sorted(VALUES.items())),
        os.environ.get("XLA_FLAGS", ""),
        cache.processor(),
        _versions(),
        machine.code_sha256(),
    ]


@functools.cache
def _versions() -> str:
    found = []
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return f"python {platform.python_version()}, {', '.join(found)}"
