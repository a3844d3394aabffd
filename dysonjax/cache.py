"""Where compiled programs are kept between runs.

`DYSONJAX_CACHE=off` keeps none, `DYSONJAX_CACHE=FOLDER` keeps them elsewhere than in the user's cache folder.
"""

import functools
import hashlib
import os
import platform
import re
from pathlib import Path

import platformdirs

VARIABLE = "DYSONJAX_CACHE"


def root() -> Path | None:
    """The folder of all caches of this user; None if they are turned off."""
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() in ("off", "0", "no", "none"):
        return None
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dysonjax"))


@functools.cache
def processor() -> str:
    """A short name for the instruction set of this machine.

    Machine code runs only on processors with the same instructions, and a home folder is often shared by
    machines that differ.
    """
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
        features = " ".join(sorted(found[1].split())) if found else platform.processor()
    except OSError:
        features = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:8]
