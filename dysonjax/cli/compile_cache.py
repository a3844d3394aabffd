"""Compiled programs kept between runs of the commands, so that only the first run of a kind compiles.

The library never does this: it is the commands that set JAX's own persistent cache, through the environment
and before JAX is imported, and they leave alone whatever the user has set already.
"""

import importlib.metadata
import os
import sys
from pathlib import Path

from dysonjax.cache import VARIABLE, processor, root

MIN_COMPILE_SECONDS = "0.3"  # programs that compile faster than they load are not kept


def folder() -> Path | None:
    """The cache of this machine's kind of processor and this version of the compiler; None if turned off."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    base = root()
    if base is None:
        return None
    return base / "compiled" / f"jaxlib-{importlib.metadata.version('jaxlib')}-{processor()}"


def activate() -> None:
    """Make JAX, which must not be imported yet, keep its compiled programs; silently nothing if it cannot."""
    place = folder()
    if place is None or "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        writable = os.access(place, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", MIN_COMPILE_SECONDS)
    # XLA prints half a page for every program that it loads from the cache: its own tuning hints are not
    # among the features that it reads off the processor. Errors still reach Python as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def compiling(what: str) -> str:
    """The message before the first compilation of a run; a new user also hears what it is for."""
    place = folder()
    if place is None or (place.is_dir() and any(place.iterdir())):
        return f"compiling for {what} ..."
    return (
        f"compiling for {what}: 5 to 30 s the first time; the programs are then kept in {root() or place} "
        f"({VARIABLE}=off keeps none) ..."
    )
