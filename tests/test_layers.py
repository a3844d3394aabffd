"""Imports point one way, so that each package can be read without the ones above it."""

import ast
import functools
import importlib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dysonjax

PACKAGE = Path(__file__).parents[1] / "dysonjax"
OPEN = {
    "cache",
    "checks",
    "files",
    "forks",
    "keys",
    "lazy",
    "renamed",
    "threefry",
    "xla_flags",
}  # to all packages
TOP = {"__init__", "__main__", "cli", "bench"}  # may import everything
# package or module: the siblings that it may import (besides `OPEN`).
ALLOWED = {
    "checks": set(),
    "files": set(),
    "forks": set(),
    "keys": {"forks", "renamed"},
    "xla_flags": set(),
    "lazy": set(),
    "renamed": set(),
    "threefry": set(),
    "weights": set(),
    "models": {"weights"},  # the layouts of flax
    "spectra": {"weights"},  # the matrix of a tensor
    "layers": {"weights", "spectra"},
    "dyson": {"spectra"},  # the exact β-ensembles that the Coulomb gas samples from
    "cache": set(),
    "compile": set(),
    "ensemble": {"models", "compile"},
    "compare": {"models", "spectra", "dyson", "ensemble"},
    "analysis": {"models", "spectra", "dyson", "ensemble"},
    "advice": {"models", "ensemble"},
    "figures": {"spectra", "dyson"},
    "report": {"spectra", "ensemble", "analysis", "figures"},
    "export": {"ensemble", "analysis", "report"},
    "published": {
        "models",
        "spectra",
        "dyson",
        "ensemble",
        "compare",
        "analysis",
        "figures",
    },
    # Old names of modules that have moved; nobody else imports them.
    "phase": {"analysis"},
    "pairs": {"analysis"},
    "attention": {"analysis"},
    "curvature": set(),
    "selftest": {"cli"},
}


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.fixture(autouse=True, scope="module")
def _no_trees_of_the_whole_package_in_memory():
    yield
    _tree.cache_clear()


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(_tree(path)):
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("phase", "analysis.phase"),
        ("pairs", "analysis.pairs"),
        ("attention", "analysis.attention"),
        ("curvature", "advice.curvature"),
        ("selftest", "cli.selftest"),
    ],
)
def test_modules_that_have_moved_keep_their_old_names(old, new):
    module = importlib.import_module(f"dysonjax.{new}")
    assert importlib.import_module(f"dysonjax.{old}") is module and getattr(dysonjax, old) is module


def test_the_layer_check_sees_what_is_forbidden(tmp_path):
    module = tmp_path / "bad.py"
    module.write_text("from dysonjax.cli import main\nimport dysonjax.ensemble.grid\n")
    assert _imports(module) == {"cli", "ensemble"}
    with pytest.raises(AssertionError):
        _check("ensemble", _imports(module))
    with pytest.raises(AssertionError, match="new_module is in no layer"):
        _check("new_module", set())


# Over 300 lines without docstrings, and still one idea.
LONG = {
    "dyson.coulomb_gas": "one law: its density, and the ways to draw from it",
    "dyson.landscape": "one search: the maxima of one density, from the wells to the climb",
    "dyson.mcmc": "one sampler: its stages share the walk that they extend",
    "models.nanogpt": "one model, read from top to bottom",
    "published.nanogpt_spikes": "one figure: what is counted in each head, drawn and held against the lines",
    "published.phase": "the recipes of one paper's figures, one after the other",
    "published.rbm": "the recipes of one paper's figures, one after the other",
    "spectra.members": "one adapter, and every form of input that it takes",
    "weights.plan": "one plan: what of a checkpoint is analysed, and how",
}


@functools.cache
def _modules(package: Path = PACKAGE) -> dict[str, Path]:
    parts = {path: path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): path for path, p in parts.items()}


def _imported_at_once(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that one imports when it is imported itself, not later in a function."""
    found, todo = set(), list(_tree(path).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole.removeprefix("dysonjax.") in modules else node.module)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            todo += [*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
    return {name.removeprefix("dysonjax.") for name in found} & modules.keys()


def _circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The largest sets of modules of which each leads to every other one."""

    def behind(start):
        seen, todo = set(), [start]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reached = {module: behind(module) for module in graph}
    circles = {frozenset(m for m in reached[start] if start in reached[m]) for start in graph}
    return sorted((set(circle) for circle in circles if circle), key=sorted)


def test_imports_go_round_in_no_circle():
    modules = _modules()
    graph = {name: _imported_at_once(path, modules) - {name} for name, path in modules.items()}
    assert sum(map(len, graph.values())) > 300, "the imports were not found"
    assert _circles(graph) == []


def test_the_search_for_circles_finds_one(tmp_path):
    texts = {
        "a": "from dysonjax import b",
        "b": "if True:\n    from dysonjax.c import x",
        "c": "import dysonjax.a",
    }
    later = "def f():\n    from dysonjax import a"
    for name, text in (texts | {"d": later, "e": "from dysonjax.d import f"}).items():
        (tmp_path / f"{name}.py").write_text(text)
    modules = _modules(tmp_path)
    graph = {name: _imported_at_once(path, modules) for name, path in modules.items()}
    assert graph["d"] == set() and graph["e"] == {"d"}
    assert _circles(graph) == [{"a", "b", "c"}]


@pytest.mark.parametrize("name", _modules())
def test_a_long_module_says_why_it_is_one_idea(name):
    path = _modules()[name]
    lines = _lines_of_code(path.read_text(), _tree(path))
    assert lines <= 300 or name in LONG, f"{name} has {lines} lines"


def _lines_of_code(text: str, tree: ast.Module) -> int:
    """Lines outside docstrings, which explain and are not to be kept short for the sake of a number."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    written = [n for n in blocks if isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)]
    return len(text.splitlines()) - sum(n.end_lineno - n.lineno + 1 for n in written)


def test_docstrings_do_not_count_as_code():
    text = '"""One idea.\n\nMore of it.\n"""\nx = 1\n"""what x is"""\ny = 2\n'
    assert _lines_of_code(text, ast.parse(text)) == 2
