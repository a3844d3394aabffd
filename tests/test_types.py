"""What an editor knows of a user's program: types of arguments and results, and names that do not exist."""

import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
import dysonjax as dj

grid = dj.Grid(lr=[0.1], batch_size=4)
run = dj.train(dj.models.linear(), grid, 20, key=0, optimizer="sgd")
x = dj.spectra.sample_goe(0, n=4, shape=200)
found = dj.spectra.bootstrap(x, np.mean, n_resamples=9, member_axis=0, nan_policy="omit")
gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), 0.5, n=3)
reveal_type(grid.lr)
reveal_type(run)
reveal_type(found)
reveal_type(gas.n)
"""
KNOWN = ("tuple[float, ...]", "dysonjax.ensemble.running.Run", "dysonjax.spectra.resampling.Estimate", "int")
SLIPS = {
    "dj.nonsense": 'no attribute "nonsense"',
    "dj.train(dj.models.linear(), grid, 20, optimiser='sgd')": 'keyword argument "optimiser"',
    "dj.spectra.bootstrap(x, np.mean, n=9)": 'keyword argument "n"',
    "dj.spectra.wasserstein(x, x, levels='each')": 'keyword argument "levels"',
    "dj.Grid(lr='0.1', batch_size=4)": 'incompatible type "str"',
    "dj.models.rbm(kapa=[1.0])": 'keyword argument "kapa"',
}


@pytest.mark.slow  # half a minute: everything is read from its sources
def test_a_program_is_checked_against_the_library(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "program.py"
    file.write_text(PROGRAM + "\n".join(SLIPS) + "\n")
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nignore_missing_imports = True\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", tmp_path / "cache", file],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    revealed = [line.split('"')[1] for line in done.stdout.splitlines() if "Revealed type" in line]
    assert revealed == list(KNOWN), done.stdout
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == len(SLIPS), done.stdout
    for line, what in zip(errors, SLIPS.values(), strict=True):
        assert what in line
