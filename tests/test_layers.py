"""Imports point one way, so that each package can be read without the ones above it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dysonjax"
OPEN = {"checks", "threefry"}  # to all packages
TOP = {"__init__", "cli", "bench"}  # may import everything
# package or module: the siblings that it may import (besides `OPEN`).
ALLOWED = {
    "checks": set(),
    "threefry": set(),
    "weights": set(),
    "models": {"weights"},  # the layouts of flax
    "spectra": {"weights"},  # the matrix of a tensor
    "layers": {"weights", "spectra"},
    "dyson": {"spectra"},  # the exact β-ensembles that the Coulomb gas samples from
    "attention": {"spectra"},
    "cache": set(),
    "native": {"models", "cache"},
    "ensemble": {"models", "native", "cache"},
    "compare": {"models", "spectra", "dyson", "ensemble"},
    "pairs": {"models", "spectra"},
    "phase": {"models", "spectra", "dyson", "ensemble"},
    "curvature": {"models", "ensemble"},
    "advice": {"models", "ensemble", "curvature"},
    "selftest": {"models", "spectra", "dyson", "ensemble"},
    "figures": {"spectra", "dyson"},
    "report": {"spectra", "ensemble", "figures"},
    "published": {
        "models",
        "spectra",
        "dyson",
        "ensemble",
        "compare",
        "pairs",
        "phase",
        "attention",
        "figures",
    },
}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("dysonjax.")}


def _layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _check(layer: str, imports: set[str]) -> None:
    assert layer in ALLOWED or layer in TOP, f"{layer} is in no layer: say in this file what it may import"
    if layer in ALLOWED:
        assert imports <= ALLOWED[layer] | OPEN | {layer}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    _check(_layer(path), _imports(path))


def test_every_layer_exists_and_none_is_in_a_circle():
    found = {_layer(path) for path in PACKAGE.rglob("*.py")}
    assert found == ALLOWED.keys() | TOP
    tuple(TopologicalSorter(ALLOWED).static_order())  # raises CycleError


def test_the_layer_check_sees_what_is_forbidden(tmp_path):
    module = tmp_path / "bad.py"
    module.write_text("from dysonjax.cli import main\nimport dysonjax.ensemble.grid\n")
    assert _imports(module) == {"cli", "ensemble"}
    with pytest.raises(AssertionError):
        _check("ensemble", _imports(module))
    with pytest.raises(AssertionError, match="new_module is in no layer"):
        _check("new_module", set())
