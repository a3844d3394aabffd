"""All that the traced programs of a job depend on, as a key under which `traces` keeps them.

The model by its fingerprint, the code of this package, versions, JAX's settings, the processor. A process
keeps traces for itself. On the disk the library never does: it is the commands that turn it on, see
`cli/compile_cache.py`.
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
    """Of the job of a batch size; nothing is kept unless the model is known to the last function."""
    devices = tuple(config.devices)
    if devices[0].platform != "cpu" or processes.count() > 1:
        return Traces(None, devices)
    if _on_disk(config):
        with contextlib.suppress(fingerprint.Unknown, OSError):  # or code that lies in no folder
            return Traces(kept.key(*ingredients(model, config, batch_size)), devices, True)
    with contextlib.suppress(fingerprint.Unknown, OSError):
        return Traces(kept.key(*ingredients(model, config, batch_size, others=True)), devices)
    return Traces(None, devices)


def _on_disk(config: Config) -> bool:
    since = os.environ.get(cache.TRACES)
    if not since or not isinstance(config.optimizer, Optimizer):
        return False
    return machine.code_changed() < float(since)  # else what runs here may be older


def ingredients(model: Model, config: Config, batch_size: int, others: bool = False) -> list[str]:
    """All that a traced program depends on, besides the shapes of its arguments; raises Unknown.

    others: whether functions of other people may be part of it, see `fingerprint`.
    """
    optimizer = config.optimizer
    follows = not isinstance(optimizer, Optimizer) or optimizer.schedule != "constant" or optimizer.warmup
    steps = config.steps if follows else None
    # Where compiled programs are kept changes none of them, and is changed while others compile.
    names = [name for name in jax.config.values if "compilation_cache" not in name]
    settings = {name: getattr(jax.config, name, jax.config.values[name]) for name in names}
    return [
        fingerprint.of(model, others),
        fingerprint.of((optimizer, steps), others),
        repr((batch_size, config.common, config.precision, config.x64)),
        repr([(device.id, device.device_kind) for device in config.devices]),
        repr(sorted(settings.items())),
        repr(sorted(VALUES.items())),
        os.environ.get("XLA_FLAGS", ""),
        cache.processor(),
        _versions(),
        machine.code_sha256(),
        repr(others),
    ]


@functools.cache
def _versions() -> str:
    found = []
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return f"python {platform.python_version()}, {', '.join(found)}"
