"""Compiled programs kept between runs of the commands, so that only the first run of a kind compiles.

The library never does this: it is the commands that set JAX's own persistent cache, through the environment
and before JAX is imported, and they leave alone whatever the user has set already. `DYSONJAX_CACHE=off` turns
it off, `DYSONJAX_CACHE=FOLDER` puts it elsewhere.
"""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import platformdirs

VARIABLE = "DYSONJAX_CACHE"
MIN_COMPILE_SECONDS = "0.3"  # programs that compile faster than they load are not kept


def root() -> Path | None:
    """The folder of all caches of this user; None if they are turned off."""
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() in ("off", "0", "no", "none"):
        return None
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dysonjax"))


def folder() -> Path | None:
    """The cache of this machine's kind of processor and this version of the compiler; None if turned off.

    Machine code for the host runs only on processors with the same instructions, and a home folder is often
    shared by machines that differ.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    base = root()
    if base is None:
        return None
    return base / "compiled" / f"jaxlib-{importlib.metadata.version('jaxlib')}-{_processor()}"


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


def _processor() -> str:
    """A short name for the instruction set of this machine."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
        features = " ".join(sorted(found[1].split())) if found else platform.processor()
    except OSError:
        features = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:8]
