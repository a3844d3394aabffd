"""Public docstrings have numpydoc's sections, say what each argument is, and show an example that runs."""

import dataclasses
import doctest
import functools
import importlib
import inspect
from pathlib import Path

import griffe
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dysonjax as dj

PACKAGES = (
    "analysis.phase",
    "compare",
    "dyson",
    "layers",
    "models",
    "models.predictions",
    "models.rbm_fluctuations",
    "spectra",
    "weights",
)

ROOT = Path(__file__).parents[1]


def public() -> dict[str, object]:
    """Functions and classes that users call, by the name under which `help` knows them."""
    found = {}
    for package in ("", *PACKAGES):
        module = importlib.import_module(f"dysonjax.{package}".rstrip("."))
        for name in getattr(module, "__all__", None) or _own(module):
            value = getattr(module, name)
            if callable(value) and not isinstance(value, type) | inspect.isfunction(value):
                value = inspect.unwrap(value, stop=_says_its_arguments)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return dict(sorted(found.items()))


def _says_its_arguments(function) -> bool:
    """Whether a wrapper adds arguments of its own, such as `nan_policy`, and tells them by a signature."""
    return inspect.isfunction(function) and "__signature__" in vars(function)


def _own(module) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


def sections(value) -> dict[str, list]:
    """Sections of a docstring by their kind, read as the pages of the reference read them."""
    text = griffe.Docstring(inspect.getdoc(value) or "", parser="numpy")
    return {s.kind.value: s.value for s in griffe.parse(text, "numpy", warnings=False)}


def faults(value, inside: bool = False) -> list[str]:
    """What a reader misses in the docstring of a function or class.

    Methods, which are `inside` a class, and classes that only hold results need no example.
    """
    read, wrong = sections(value), []
    if not str(read.get("text", "")).strip():
        wrong.append("says nothing")
    if not inside and "examples" not in read and not (inspect.isclass(value) and not _methods(value)):
        wrong.append("has no example")
    if inspect.isclass(value):
        wrong += _faults_of_class(value, read)
    else:
        signature = inspect.signature(value)
        named = {name: p for name, p in signature.parameters.items() if name not in ("self", "cls")}
        wrong += [f"{name} has no type" for name, p in named.items() if p.annotation is p.empty]
        told = _names(read.get("parameters", [])) | _names(read.get("other parameters", []))
        wrong += [f"{p} is not explained" for p in signature.parameters if p not in told | {"self", "cls"}]
        wrong += [f"{p} is no argument" for p in told - set(signature.parameters)]
        if signature.return_annotation not in (None, "None") and not {"returns", "yields"} & read.keys():
            wrong.append("does not say what is returned")
    return wrong


def _faults_of_class(value, read) -> list[str]:
    told = _names(read.get("parameters", [])) | _names(read.get("attributes", []))
    fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    fields = [name for name in getattr(value, "_fields", fields) if not name.startswith("_")]
    beneath = _documented_fields(value)
    wrong = [f"{name} is not explained" for name in fields if name not in told | beneath]
    for name, method in _methods(value).items():
        wrong += [f"{name}: {fault}" for fault in faults(method, inside=True)]
    shown = [n for n, m in vars(value).items() if isinstance(m, property) and not n.startswith("_")]
    return wrong + [f"{name} is not explained" for name in shown if not inspect.getdoc(vars(value)[name])]


def _documented_fields(value) -> set[str]:
    """Fields of a class that have a docstring of their own in the line below."""
    own = f"{value.__module__}.{value.__qualname__}".removeprefix("dysonjax.")
    return {name for name, member in _package()[own].members.items() if member.has_docstring}


@functools.cache
def _package() -> griffe.Module:
    return griffe.load("dysonjax", search_paths=[str(ROOT)])


def _names(entries) -> set[str]:
    return {name.strip().lstrip("*") for entry in entries for name in entry.name.split(",")}


def _methods(value) -> dict[str, object]:
    """Public functions of a class, by name; not functions that are the default of a field."""
    fields = getattr(value, "__dataclass_fields__", {})
    plain = {n: getattr(m, "__func__", m) for n, m in vars(value).items() if not n.startswith("_")}
    return {n: method for n, method in plain.items() if inspect.isfunction(method) and n not in fields}


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_is_complete(name):
    assert not faults(PUBLIC[name])


def _once(function):
    """A function that computes once for the same arguments, as written out, if it writes no files."""
    found = {}

    def remembering(*args, **options):
        if "out" in options:  # files are wanted, too
            return function(*args, **options)
        asked = repr(([_written(a) for a in args], options))
        if asked not in found:
            found[asked] = function(*args, **options)
        return found[asked]

    return remembering


def _written(argument):
    return (argument.name, argument.config) if isinstance(argument, dj.models.Model) else argument


# Several examples are about one small run: it is trained for the first of them.
ONCE = [(dj, "train", _once(dj.train)), (dj.compare, "ladders", _once(dj.compare.ladders))]


@pytest.fixture
def each_run_once(monkeypatch):
    for place, name, function in ONCE:
        monkeypatch.setattr(place, name, function)


# Calls that quick tests make too, with like arguments: only whether they read so in the text is slow to know.
LIKE_OTHERS = {
    "dysonjax.advice.pilots.advise",
    "dysonjax.compare.ladder.ladder",
    "dysonjax.ensemble.merge.merge",
    "dysonjax.ensemble.optimizers.Optimizer",
    "dysonjax.ensemble.over.train_each",
}


def test_examples_that_are_slow_are_public():
    assert set(PUBLIC) > LIKE_OTHERS


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LIKE_OTHERS else ()) for n in PUBLIC]
)
def test_examples_of_a_public_docstring_run(name, each_run_once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples write files as a user does, into the folder where they are
    known = {"dj": dj, "np": np, "jax": jax, "jnp": jnp} | vars(
        importlib.import_module(PUBLIC[name].__module__)
    )
    finder = doctest.DocTestFinder(recurse=inspect.isclass(PUBLIC[name]))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told = []
    for example in finder.find(PUBLIC[name], name, globs=known):
        runner.run(example, out=told.append)
    assert not runner.failures, "".join(told)


def test_what_is_missing_in_a_docstring_is_named():
    def half(x, y=1) -> float:
        """Half of x.

        Parameters
        ----------
        x : float
            A number.
        z : float
            Nothing.
        """
        return x / 2

    wanted = {f"{name} has no type" for name in "xy"}
    wanted |= {"has no example", "y is not explained", "z is no argument", "does not say what is returned"}
    assert set(faults(half)) == wanted
