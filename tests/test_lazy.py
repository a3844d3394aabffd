"""Names are there when they are asked for, and not before."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = [
    "analysis",
    "analysis.phase",
    "compare",
    "dyson",
    "ensemble",
    "layers",
    "models",
    "spectra",
    "weights",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_is_completed(package):
    module = importlib.import_module(f"dysonjax.{package}")
    assert set(module.__all__) <= set(dir(module))
    assert all(hasattr(module, name) for name in module.__all__)
    assert not hasattr(module, "nothing")


def test_what_editors_see_is_what_there_is():
    import dysonjax as dj
    from dysonjax import lazy

    seen = lazy._homes(Path(dj.__file__).read_text())
    assert seen.keys() == set(dj.__all__) == dj._HOME.keys()
    for name, (module, attribute) in seen.items():
        assert getattr(dj, name) is getattr(importlib.import_module(module), attribute)


FUNCTIONS = [("dyson", "integrate"), ("dyson", "measure"), ("models", "rbm"), ("spectra", "spacings")]


@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_function_hides_the_module_of_its_name_whichever_comes_first(first):
    """The modules of every other function come first, beginning with this one."""
    lines = ["import dysonjax as dj"]
    for number, (package, name) in enumerate(FUNCTIONS):
        both = [f"import dysonjax.{package}.{name}", f"f = dj.{package}.{name}"]
        lines += both if number % 2 == first else both[::-1]
        lines += [f"from dysonjax.{package}.{name} import {name}"]
        lines += [f"assert f is {name} and dj.{package}.{name} is {name} and callable(f)"]
    assert subprocess.run([sys.executable, "-c", "; ".join(lines)]).returncode == 0


@pytest.mark.slow
def test_training_a_phase_diagram_waits_for_no_library_that_it_does_not_use():
    code = (
        "import sys, dysonjax.ensemble, dysonjax.figures.phase_diagram; from dysonjax.analysis import phase; "
        "phase.classify; import dysonjax as dj; dj.models.teacher_student(); "
        "found = {'scipy.optimize', 'scipy.stats', 'flax', 'optax'} & set(sys.modules); "
        "assert not found, found"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_reading_a_run_waits_for_no_jax(tmp_path):
    import dysonjax as dj

    grid = dj.Grid(lr=[0.1], batch_size=[2], sigma_w=[1.0], seeds=1)
    dj.train(dj.models.linear(), grid, 2, 2, out=tmp_path / "run")
    code = (
        "import sys; from dysonjax.cli import main; main(['info', sys.argv[1], '--quiet']); "
        "assert 'xarray' in sys.modules and 'jax' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")]).returncode == 0
