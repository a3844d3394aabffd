"""The reference of the documentation holds every public name."""

import importlib
import re
from pathlib import Path

import pytest

import dysonjax as dj

PAGES = Path(__file__).parents[1] / "docs" / "reference"
NAMED = set(re.findall(r"^::: (\S+)", "\n".join(p.read_text() for p in PAGES.glob("*.md")), re.M))


def homes(package: str, name: str) -> set[str]:
    """Places under which a name of a package may stand: its own, its module and the package itself."""
    value = getattr(importlib.import_module(package), name)
    module = getattr(value, "__module__", None) or getattr(value, "__name__", package)
    own = getattr(value, "__name__", name)
    return {package, module, f"{module}.{name}", f"{package}.{name}", own}


@pytest.mark.parametrize(
    "package", ["analysis.phase", "compare", "dyson", "layers", "models", "spectra", "weights"]
)
def test_every_public_name_of_a_package_is_in_the_reference(package):
    module = importlib.import_module(f"dysonjax.{package}")
    missing = [name for name in module.__all__ if not homes(module.__name__, name) & NAMED]
    assert not missing


def test_every_name_of_the_library_itself_is_in_the_reference():
    def documented(name):
        module = f"dysonjax.{dj._HOME[name]}"
        if module.rsplit(".", 1)[-1] == name:  # a package is meant
            return any(entry == module or entry.startswith(f"{module}.") for entry in NAMED)
        return bool(homes(module, name) & NAMED)

    assert not [name for name in dj.__all__ if not documented(name)]


def test_a_name_that_nobody_wrote_about_is_noticed():
    assert not homes("dysonjax.ensemble", "barrier") & NAMED
