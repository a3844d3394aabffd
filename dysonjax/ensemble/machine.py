"""On what a run was made: the machine in words, and the code by its hash."""

import functools
import hashlib
import os
import platform
import re
from pathlib import Path

import dysonjax
from dysonjax import cache

CODE = (".py", ".c", ".h", ".json")  # what a result may depend on


@functools.cache
def code_sha256() -> str:
    """The hash of all of the installed package's code, whatever its version says."""
    found, package = hashlib.sha256(), Path(dysonjax.__file__).parent
    for path in sorted(p for p in package.rglob("*") if p.suffix in CODE):
        found.update(path.relative_to(package).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


@functools.cache
def hardware() -> str:
    """Processor, cores that may be used, memory, operating system."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        named = re.search(r"^(?:model name|Processor)\s*:\s*(.+)$", text, re.M)
        name = named[1] if named else platform.processor()
    except OSError:  # not on Linux
        name = platform.processor()
    parts = [name or platform.machine(), f"{cache.cores()} cores"]
    try:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    except (ValueError, OSError, AttributeError):  # not on Windows
        pass
    return ", ".join([*parts, f"{platform.system()} {platform.machine()}"])
