"""Imports point one way, so that each package can be read without the ones above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dysonjax"
OPEN = {"checks", "threefry"}  # to all packages
# package or module: the siblings that it may import (besides `OPEN`).
ALLOWED = {
    "checks": set(),
    "threefry": set(),
    "weights": set(),
    "models": {"weights"},  # the layouts of flax
    "spectra": {"weights"},  # the matrix of a tensor
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
    "report": {"ensemble", "figures"},
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


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if layer not in ALLOWED:  # the top: `__init__`, `cli`, `bench`
        return
    assert _imports(path) <= ALLOWED[layer] | OPEN | {layer}


def test_the_layer_check_sees_a_forbidden_import(tmp_path):
    module = tmp_path / "bad.py"
    module.write_text("from dysonjax.cli import main\nimport dysonjax.ensemble.grid\n")
    assert _imports(module) == {"cli", "ensemble"}
