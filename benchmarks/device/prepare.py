"""What a check on a GPU needs and a bare machine lacks, made on a CPU: python benchmarks/device/prepare.py

Into the folder `carry` beside this file: the numbers that every model has after some steps by XLA on this
CPU, the machine code of its kernels for an H100, and Python packages as wheels for the Python of the GPU's
machine, which has JAX for CUDA 13 itself.
"""

import argparse
import os
import shutil
import subprocess
import sys

from cases import CARRY, PIECES, TIMED, checked, kernels

MOST_BYTES = 60e6
# What an installation of JAX for CUDA does not bring.
PACKAGES = (
    *("zarr", "numcodecs", "donfig", "crc32c", "google-crc32c", "tyro", "pooch", "platformdirs"),
    *("shtab", "docstring-parser", "typeguard", "msgpack"),
)


def expected() -> None:
    import numpy as np

    for name, one in checked().items():
        leaves = kernels.by_xla(one, sum(PIECES))
        np.savez_compressed(CARRY / f"{name}.npz", *leaves)
        print(f"{name}: {len(leaves)} arrays after {sum(PIECES)} steps")


def machine_code(architecture: int) -> None:
    """Into a cache that the check uses, so that nothing is compiled on the device's time."""
    from dysonjax.compile import layouts, nvrtc, warps
    from dysonjax.ensemble import cuda

    if nvrtc.refuses() is not None:
        print(f"no machine code is made: {nvrtc.refuses()}")
        return
    steps = {name: (one, *one.tile.shape[1:]) for name, one in checked().items()}
    for timed in TIMED:
        steps[timed.name] = timed.case(few=True), timed.seeds, timed.points
    for name, (one, worlds, points) in steps.items():
        for layout in layouts.ranked(one.ready.step, worlds, points)[: cuda.TRIES]:
            source = warps.written(one.ready.step, layout.how)
            stack = [
                warps.usage(warps.compiled(source, architecture, block)).stack for block in blocks(layout)
            ]
            if not any(stack):
                print(f"{name}: {layout.how.threads} threads a network", flush=True)
                break


def blocks(layout) -> list[int]:
    """Warps of a block that are tried."""
    return sorted({1, 2, 4, layout.block})


def wheels(python: str) -> None:
    """Of the packages and of nothing else, at the versions of this environment where it has them."""
    folder = CARRY / "wheels"
    where = [f"--platform=manylinux_2_{n}_x86_64" for n in (28, 27, 17)] + ["--platform=manylinux2014_x86_64"]
    target = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *where]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *target, "-d", folder]
    for package in PACKAGES:
        if subprocess.run([*command, package]).returncode:
            print(f"no wheel of {package}: the machine must have it")


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
