"""Which devices a run uses, and how a CPU becomes one single-threaded device a core."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import jax

from dysonjax import checks, xla_flags
from dysonjax.cache import cores


def one_device_per_core() -> None:
    """Give JAX one single-threaded host device for each core.

    Call it before JAX is used for the first time. Small products do not profit from threads, members that are
    spread over such devices do. The commands call this; the library never does it on import.

    Warns
    -----
    UserWarning
        If JAX runs already, with fewer devices than cores.

    Examples
    --------
    At the top of a program:

    >>> import dysonjax as dj
    >>> dj.one_device_per_core()  # doctest: +SKIP
    """
    flag = "--xla_cpu_multi_thread_eigen"
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}=false".strip()
    if setting("jax_num_cpu_devices") < 1:
        try:
            jax.config.update("jax_num_cpu_devices", cores())
        except RuntimeError:  # JAX runs already and keeps the devices that it has
            if jax.default_backend() == "cpu" and jax.local_device_count() < cores():
                warnings.warn(
                    "JAX runs already, with fewer devices than cores; call one_device_per_core() first in "
                    "the program, before arrays or models are made",
                    stacklevel=2,
                )


def setting(name: str) -> Any:
    """A setting of JAX: its class `Config` does not declare them."""
    return getattr(jax.config, name)


def check_settings() -> None:
    """Raise InputError for a global setting of JAX under which networks cannot be trained."""
    strict = setting("jax_numpy_dtype_promotion") != "standard"
    equal = setting("jax_numpy_rank_promotion") == "raise"
    guarded = "disallow" in str(setting("jax_transfer_guard"))
    settings = {
        "JAX_NUMPY_RANK_PROMOTION=raise": (
            equal,
            "arrays with different numbers of axes are combined on purpose",
        ),
        "JAX_TRANSFER_GUARD=disallow": (guarded, "records and checkpoints are brought to the host"),
        "JAX_NUMPY_DTYPE_PROMOTION=strict": (strict, "types are mixed on purpose"),
        "JAX_DISABLE_JIT": (setting("jax_disable_jit"), "every step would be run operation by operation"),
        "JAX_DEBUG_NANS": (setting("jax_debug_nans"), "a network that diverges would stop all others"),
        "JAX_DEBUG_INFS": (setting("jax_debug_infs"), "a network that diverges would stop all others"),
    }
    for name, (there, reason) in settings.items():
        if there:
            raise checks.InputError(f"{name} is set, but {reason}; unset it")


def _local(backend: str | None = None) -> list[jax.Device]:
    """The devices of this process; raises InputError if JAX cannot start what the environment asks for."""
    xla_flags.check()
    wanted = setting("jax_platforms")
    try:
        return jax.local_devices(backend=backend)
    except (RuntimeError, AssertionError) as error:
        if backend is not None or not wanted:
            raise
        reason = (str(error).splitlines() or [""])[0][:150].strip()
        raise checks.InputError(
            f"JAX_PLATFORMS={wanted}, but JAX cannot use it here"
            f"{f' ({reason})' if reason else ''}; unset it, or set it to cpu"
        ) from None


def resolve(devices: int | str | Sequence[jax.Device] | None) -> list[jax.Device]:
    """Devices of this process: all (None), the first few (a number), a kind ("cpu", "gpu", "tpu"), these."""
    check_settings()
    if isinstance(devices, list | tuple):
        return list(devices)
    found = _local()
    if devices is None:
        return found
    if isinstance(devices, str) and not checks.digits(devices):
        checks.one_of("devices", devices, ["cpu", "gpu", "tpu"])
        try:
            return jax.local_devices(backend=devices)
        except RuntimeError:
            raise checks.InputError(
                f"devices is {devices!r}, but JAX sees {jax.default_backend()} devices only"
            ) from None
    count = checks.positive_int("devices", int(devices) if isinstance(devices, str) else devices)
    if count > len(found):
        raise checks.InputError(f"devices must be at most {len(found)}, got {count}")
    return found[:count]


def named(devices: Sequence[jax.Device] | None = None, processes: int = 1) -> str:
    """The kind of devices, by default of all of this process, with their number if there are several."""
    devices = jax.local_devices() if devices is None else devices
    total = len(devices) * processes
    return f"{total} x {devices[0].device_kind}" if total > 1 else devices[0].device_kind
