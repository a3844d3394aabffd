"""On what a run was made: the machine in words, and the code by its hash."""

import functools
import hashlib
import platform
import re
from pathlib import Path

import xarray as xr

import dysonjax
from dysonjax import cache, checks
from dysonjax.ensemble import devices, processes
from dysonjax.ensemble.config import Config

PACKAGE = Path(dysonjax.__file__).parent
CODE = (".py", ".c", ".h", ".json")  # what a result may depend on


@functools.cache
def code_sha256() -> str:
    """The hash of all of the installed package's code, whatever its version says."""
    found = hashlib.sha256()
    for path in _code():
        found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def code_changed() -> float:
    """When a file of the code was last changed, in seconds since 1970."""
    return max(path.stat().st_mtime for path in _code())


def _code() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in CODE)


@functools.cache
def hardware() -> str:
    """Processor, cores that may be used, memory, operating system."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        named = re.search(r"^(?:model name|Processor)\s*:\s*(.+)$", text, re.M)
        name = named[1] if named else platform.processor()
    except OSError:  # not on Linux
        name = platform.processor()
    parts, memory = [name or platform.machine(), f"{cache.cores()} cores"], checks.machine_memory()
    if memory is not None:
        parts.append(f"{memory / 2**30:.0f} GiB")
    return ", ".join([*parts, f"{platform.system()} {platform.machine()}"])


def device_name(config: Config) -> str:
    """The kind of the devices of a run, with their number if there are several."""
    return devices.named(config.devices, processes.count())


def session(template: xr.Dataset, chosen: dict[str, str | None]) -> dict[str, str | None]:
    """What the bits of the results may depend on beside the configuration."""
    found = {name: template.attrs[name] for name in ("versions", "device")}
    found |= {"processor": cache.processor(), "code": code_sha256()}
    return found | {"backend": chosen["backend"], "target": chosen["target"]}
