"""What a check on a GPU needs and a bare machine lacks, made on a CPU: python benchmarks/device/prepare.py

Into the folder `carry` beside this file: the numbers that every model has after some steps by XLA on this
CPU, the machine code of its kernels for an H100, and Python packages as wheels for the Python of the GPU's
machine, which has JAX for CUDA 13 itself.
"""

import argparse
import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile

from cases import CARRY, CHECKED, MOST_TRIED, PIECES, TIMED, checked, kernels, tried
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MOST_BYTES = 60e6
# What of the dependencies an installation of JAX for CUDA and the usual packages of science has.
THERE = set(
    """jax jaxlib flax optax orbax-checkpoint numpy scipy matplotlib xarray pandas rich requests packaging
    threadpoolctl pyyaml typing-extensions ml-dtypes pygments markdown-it-py tensorstore""".split()
)


def expected() -> None:
    import numpy as np

    for name in CHECKED:
        one = checked(name)
        leaves = kernels.by_xla(one, sum(PIECES))
        np.savez_compressed(CARRY / f"{name}.npz", *leaves)
        print(f"{name}: {len(leaves)} arrays after {sum(PIECES)} steps")


def machine_code(architecture: int) -> None:
    """Into a cache that the check uses, so that nothing is compiled on the device's time."""
    from dysonjax.compile import fastest, layouts, nvrtc, warps

    if nvrtc.refuses() is not None:
        print(f"no machine code is made: {nvrtc.refuses()}")
        return
    (CARRY / "nvrtc").write_text("{}.{}".format(*nvrtc.version()))
    for name in CHECKED:
        one = checked(name)
        found = layouts.ranked(one.ready.step, *one.tile.shape[1:])[: fastest.TRIES]
        source = fastest.compiled(one.ready.step, found, architecture)
        print(f"{name}: {source.how.threads} threads a network", flush=True)
    for entry in TIMED:
        one = entry.case(few=True)
        ranked = layouts.ranked(one.ready.step, entry.seeds, entry.points)[: fastest.TRIES]
        fastest.compiled(one.ready.step, ranked, architecture)
        ways = tried(one, entry.seeds, entry.points, MOST_TRIED)
        for layout in ways:
            warps.compiled(warps.written(one.ready.step, layout.how, layout.block), architecture)
        print(f"{entry.name}: {len(ways)} kernels", flush=True)


def wheels(python: str) -> None:
    """Of what dysonjax needs and the machine lacks, and of what these need in turn."""
    folder = CARRY / "wheels"
    where = [f"--platform=manylinux_2_{n}_x86_64" for n in (28, 27, 17)] + ["--platform=manylinux2014_x86_64"]
    target = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *where]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *target, "-d", folder]
    environment = {"python_version": python, "extra": ""}
    asked, found = _needed(importlib.metadata.requires("dysonjax"), environment), {}
    while asked:
        name, requirement = asked.popitem()
        found[name] = requirement
        before = set(folder.glob("*.whl"))
        if subprocess.run([*command, str(requirement)]).returncode:
            sys.exit(f"no wheel of {requirement} for Python {python} was found")
        for wheel in set(folder.glob("*.whl")) - before:
            with zipfile.ZipFile(wheel) as archive:
                path = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                needs = email.message_from_bytes(archive.read(path)).get_all("Requires-Dist", [])
            more = _needed(needs, environment)
            asked |= {other: needed for other, needed in more.items() if other not in found}
    print(f"wheels: {', '.join(sorted(found))}")


def _needed(requirements: list[str], environment: dict[str, str]) -> dict[str, Requirement]:
    """Those that hold for a Python and are not there."""
    parsed = [Requirement(text) for text in requirements]
    held = [one for one in parsed if one.marker is None or one.marker.evaluate(environment)]
    found = {canonicalize_name(one.name): Requirement(str(one).split(";")[0]) for one in held}
    return {name: one for name, one in found.items() if name not in THERE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--architecture", type=int, default=90)
    parser.add_argument("--python", default="3.12", help="of the GPU's machine")
    parser.add_argument("--no-wheels", action="store_true")
    options = parser.parse_args()
    shutil.rmtree(CARRY, ignore_errors=True)
    CARRY.mkdir()
    os.environ["DYSONJAX_CACHE"] = str(CARRY / "cache")
    expected()
    machine_code(options.architecture)
    if not options.no_wheels:
        wheels(options.python)
    size = sum(path.stat().st_size for path in CARRY.rglob("*") if path.is_file())
    print(f"{CARRY}: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES / 1e6:.0f} MB are too many to carry")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
