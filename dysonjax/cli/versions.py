"""The versions that results may depend on, read without importing anything."""

import importlib.metadata
import platform

import dysonjax

LIBRARIES = (
    "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "matplotlib", "xarray", "zarr",
    "tyro", "rich", "pooch", "safetensors",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Name to version; "not installed" for what is missing."""
    found = {"dysonjax": dysonjax.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def report() -> str:
    """What `dysonjax --version` prints: a line for dysonjax, a line for everything beneath it."""
    found = versions()
    own = found.pop("dysonjax")
    return f"dysonjax {own}\n" + ", ".join(f"{name} {version}" for name, version in found.items())
