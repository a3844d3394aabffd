"""Variables of the environment that JAX cannot be started or used with: which one it is, in a sentence."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

from dysonjax.checks import InputError, RunError


def check() -> None:
    """Raise InputError for flags with which XLA would end the process; call it before JAX is imported.

    XLA reads its flags once and has no function that only looks at them. A child that has done nothing else
    yet reads them here; it takes some ten milliseconds, and only where there are flags.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if not flags or "jax" in sys.modules or not hasattr(os, "fork"):
        return
    from jaxlib import xla_client  # without JAX, which warns of every fork

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for stream in (1, 2):
                os.dup2(write, stream)
            os.close(read)
            xla_client.CompileOptions()  # reads the flags, or ends the process
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        words = said.read().decode(errors="replace")
    if os.waitpid(child, 0)[1] == 0:
        return
    known = re.search(r"Unknown flags? in XLA_FLAGS: (.*)", words)
    what = f"this version of XLA does not know {known[1].strip()[:200]}" if known else "XLA cannot read it"
    raise InputError(f"XLA_FLAGS is {flags[:200]!r}, but {what}; correct or unset it")


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
    if not hasattr(jax, "devices"):  # its import failed
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
