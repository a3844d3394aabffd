"""Variables of the environment that JAX cannot be started or used with: which one it is, in a sentence."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

from dysonjax.checks import InputError, RunError


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Turn an error that a variable of the environment has caused into an InputError that names it."""
    try:
        yield
    except (InputError, RunError, OSError, MemoryError):
        raise
    except Exception as error:
        sentence = None if os.environ.get("DYSONJAX_DEBUG") else _in_the_way(error)
        if sentence is None:
            raise
        raise InputError(sentence) from error


def _in_the_way(error: Exception) -> str | None:
    """Which variable made a command fail with this error; None if it is none that is known."""
    found = re.search(r"for (?:JAX flag|environment) '?(jax_\w+)", str(error), re.IGNORECASE)
    if found and (name := found[1].upper()) in os.environ:
        return f"{name}={os.environ[name]}, which JAX cannot read; correct or unset it"
    jax = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "devices"):  # its import failed
        return None
    wanted = os.environ.get("JAX_PLATFORMS")
    try:
        jax.devices()
    except Exception:
        return (
            f"JAX_PLATFORMS={wanted}, but JAX cannot use it here; unset it, or set it to cpu"
            if wanted
            else None
        )
    from dysonjax.ensemble.devices import check_settings

    try:
        check_settings()
    except InputError as setting:
        return str(setting)
    return None
