"""A child forked after training has JAX without its threads: results are read, and nothing waits for ever."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj

SECONDS = 60  # in which a child must have answered; it takes milliseconds


@pytest.fixture(scope="module")
def run():
    """Training brings up JAX's threads."""
    return dj.train(tiny(), dj.Grid(0.1, 4, seeds=4), 3, 2)


def in_a_child(function) -> str:
    """What a function answers, or raises, in a forked child; a child that hangs is killed."""
    read, write = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # JAX warns of every fork
        child = os.fork()
    if child == 0:
        try:
            answer = str(function())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    try:
        if not select.select([read], [], [], SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
            return "hangs"
        return os.read(read, 10_000).decode()
    finally:
        os.close(read)
        os.waitpid(child, 0)


def calls(run):
    key, potential = jax.random.key(1), dj.dyson.quadratic(1.0, 0.0)
    gas = dj.dyson.CoulombGas(potential, 0.5, 1.0, 2)
    start = np.array([[0.0, 1.0]])
    return {
        "train": lambda: dj.train(tiny(), dj.Grid(0.1, 4, seeds=4), 3, 2),
        "estimate": lambda: dj.estimate(tiny(), dj.Grid(0.1, 4, seeds=4), 3, 2),
        "integrate": lambda: dj.dyson.integrate(potential, 0.5, start, time=1.0, steps=2, key=key),
        "sample": lambda: gas.sample(key, 10),
        "log_prob": lambda: gas.log_prob(start),
        "most_likely": lambda: gas.most_likely(),
        "draws": lambda: dj.spectra.sample_beta_hermite(key, n=4, beta=1.0, scale=1.0),
        "compare": lambda: dj.compare.ladder("linear", members=8, steps=4),
    }


def test_what_needs_jax_says_so_instead_of_waiting_for_ever(run):
    answers = {name: in_a_child(call) for name, call in calls(run).items()}
    wrong = {n: a for n, a in answers.items() if not a.startswith("RunError: this process was forked")}
    assert not wrong and "\n" not in answers["train"]


def test_what_needs_no_jax_works(run):
    expected = float(run.dataset["train_loss"].mean())
    assert in_a_child(lambda: float(run.dataset["train_loss"].mean())) == str(expected)
    levels = np.sort(np.random.default_rng(0).normal(size=(20, 8)))
    assert in_a_child(lambda: dj.spectra.spacing_ratio(levels).mean()) == str(
        dj.spectra.spacing_ratio(levels).mean()
    )


def test_the_parent_goes_on(run):
    again = dj.train(tiny(), dj.Grid(0.1, 4, seeds=4), 3, 2).dataset
    assert again.drop_attrs().identical(run.dataset.drop_attrs())


ENDS = {"sys.exit(3)": 3, "raise SystemExit(4)": 4, "": 0, "1 / 0": 1, "os.kill(os.getpid(), 9)": -9}
PROGRAM = f"""
import os, sys, warnings
import dysonjax as dj
from tiny import tiny
warnings.simplefilter("ignore")
run = dj.train(tiny(), dj.Grid(0.1, 4, seeds=4), 3, 2)
for ended in {list(ENDS)}:
    child = os.fork()
    if child == 0:
        exec(ended)
        sys.exit(0 if run.dataset["train_loss"].mean() > 0 else 5)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow  # that it ends: test_a_pool_of_forked_processes_ends
def test_a_child_ends_as_any_other():
    """JAX's own destructors would wait for its threads, for ever or until the process crashes."""
    path = os.pathsep.join((str(Path(dj.__file__).parents[1]), str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=5 * SECONDS,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.split() == [str(code) for code in ENDS.values()], done.stderr[-500:]


def test_a_pool_of_forked_processes_ends(run):
    with warnings.catch_warnings(action="ignore"), multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
