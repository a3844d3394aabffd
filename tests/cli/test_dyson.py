import inspect
import json
import re
import shlex
import typing

import jax
import numpy as np
import pytest

from dysonjax import dyson
from dysonjax.cli import main
from dysonjax.cli.dyson import Dyson
from dysonjax.spectra import MarchenkoPastur, permutation_test, sample_wishart

COMMON = {"command", "out", "members", "steps", "seconds", "compile_seconds", "device", "version"}
KEYS = COMMON | {
    "levels_mean",
    "levels_std",
    "spacing_mean",
    "stationary_levels_mean",
    "wasserstein",
    "p_value",
    "level_steps_per_second",
}


def test_quadratic_run_reaches_its_stationary_law(tmp_path, capsys):
    arguments = "dyson --levels 3 --members 400 --time 6 --steps 60 --samples 2000 --json --quiet --out"
    assert main([*arguments.split(), str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary.keys() >= KEYS
    assert summary["wasserstein"] < 2 * summary["wasserstein_by_chance"] and summary["p_value"] > 0.01
    assert np.allclose(summary["levels_mean"], summary["stationary_levels_mean"], atol=0.2)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "dyson.pdf", "dyson.png", "levels.npz", "run.json", "summary.json"
    }  # fmt: skip


def test_unfinished_run_is_told_from_its_stationary_law(tmp_path, capsys, sketched):
    arguments = "dyson --levels 3 --members 400 --time 0.05 --steps 20 --samples 2000 --json --quiet --out"
    assert main([*arguments.split(), str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["wasserstein"] > 0.2 and summary["p_value"] < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--method matrix --g2 1,2 --levels 2", "use method='implicit'"),
        ("--start 1,0 --levels 2", "crossed"),
        ("--g2 0", "g2 must be positive"),
        ("--g2 theory", "rbm potential only"),
        ("--beta 0.5", "beta must be at least 1"),
        ("--time 0", "time must be positive"),
        ("--steps 0", "steps must be"),
        ("--omega a", "omega must be"),
        ("--omega 1,2", "one number or 10"),
        ("--levels 1000000000", "GB of memory"),
        ("--levels 1e9", "levels"),
        ("--members 100000000000", "members must be at most"),
        ("--members 2000000000", "GB of memory"),
        ("--samples 1000000000000", "samples must be at most"),
        ("--samples 2000000000 --levels 200", "GB of memory"),
        ("--records 2000000000", "GB of memory"),
        ("--records 0", "records"),
        ("--records 1", "records"),
        ("--steps 3000000000", "steps must be at most"),
        ("--levels 0", "levels must be"),
        ("--members 1", "members must be"),
        ("--samples 1", "samples must be"),
        ("--seed -1", "seed must be"),
        ("--seed 4294967296", "seed must be"),
        ("--time nan", "time must be positive"),
        ("--time inf", "time must be positive"),
        ("--time -1", "time must be positive"),
        ("--beta nan", "beta must be"),
        ("--beta 0", "beta must be"),
        ("--beta inf", "beta must be"),
        ("--g2 nan", "g2 must be"),
        ("--g2 inf", "g2 must be"),
        ("--g2 -1", "g2 must be"),
        ("--g2 1,,2", "g2 must be a number or"),
        ("--omega ''", "omega must be a number or"),
        ("--omega 0", "omega must be positive"),
        ("--omega ²", "omega must be a number or"),
        ("--start mpp", "start must be a number or"),
        ("--start nan", "start must be finite"),
        ("--start-scale 0", "start_scale must be positive"),
        ("--start-scale nan", "start_scale must be positive"),
        ("--potential rbm --start-scale 100", "the domain of the rbm potential"),
        ("--potential laguerre --start -1,1 --levels 2", "the domain of the laguerre potential"),
        ("--potential rbm --kappa 10", "kappa must lie below mu2"),
        ("--potential rbm --kappa 4,5 --levels 2", "descending order"),
        ("--potential rbm --mu2 0", "mu2 must be positive"),
        ("--potential rbm --g2 theory --temperature 0", "temperature must be positive"),
        ("--potential wishart --g2 1,2 --levels 2", "one number for the wishart"),
        ("--potential wishart --g2 9", "at least c/2"),
        ("--potential wishart --shape nan", "shape must be"),
        ("--potential wishart --method matrix", "use method='implicit'"),
        ("--potential linear_network --center 0", "teacher must be positive"),
        ("--potential morse", "potential"),
        ("--method heun", "method"),
    ],
)
def test_bad_options_end_in_one_sentence(options, message, tmp_path, capsys):
    begin = ["dyson", "--members", "20", "--out", str(tmp_path / "run")]
    assert main([*begin, *shlex.split(options)]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


SMALL = "dyson --levels 2 --members 60 --time 0.5 --steps 10 --samples 50 --records 3 --json --quiet"


def slow(options):
    """What another form tries as well, or the defaults."""
    return pytest.param(options, marks=pytest.mark.slow)


# The first is the default, the second has a form of options below, the others are drifts of the library.
COVERED = ("quadratic", "rbm", "laguerre", "quartic")


def choices(name):
    return typing.get_args(typing.get_type_hints(Dyson)[name])


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("potential", [slow(p) if p in COVERED else p for p in choices("potential")])
def test_every_potential_on_offer_works_with_its_defaults(potential, tmp_path, capsys):
    """Nothing but its name is given."""
    assert main([*SMALL.split(), "--potential", potential, "--out", str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert np.isfinite(summary["levels_mean"]).all()
    assert (summary["p_value"] is None) == (potential == "free")


def test_the_help_explains_every_potential_on_offer():
    explained = re.search(r'"""Drift: (.*?)"""', inspect.getsource(Dyson), re.S)[1]
    assert all(re.search(rf"\b{potential}\b", explained) for potential in choices("potential"))


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("method", choices("method"))
def test_every_method_on_offer_works(method, tmp_path):
    assert main([*SMALL.split(), "--method", method, "--out", str(tmp_path / "run")]) == 0


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(
    "options",
    [
        "--start mp --beta 2.5", slow("--start wishart"), "--start -1,1", slow("--start 0"), "--g2 1,2",
        "--potential rbm --g2 theory --kappa 6,4", slow("--potential rbm --kappa lattice"),
        slow("--potential linear_network --center 1,2"), slow("--potential quartic --omega -4 --g2 0.2"),
    ],
)  # fmt: skip
def test_every_form_of_option_in_the_help_works(options, tmp_path):
    assert main([*SMALL.split(), *options.split(), "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("start", ["mp", "wishart"])
def test_random_starts_are_spectra_of_random_matrices(start):
    """Levels of WᵀW, W of shape (8, 4): their mean is exact, and they repel, as independent draws do not."""
    key = jax.random.key(0)
    x = Dyson(start=start, start_scale=0.3)._first_levels(key, 4, 4000)
    exact = sample_wishart(jax.random.key(1), 4, 8, np.sqrt(0.3 / 8), (4000,))
    assert permutation_test(x, exact, n_resamples=199).p_value > 0.01
    assert abs(x.mean() - 0.3) < 4 * x.mean(axis=1).std() / np.sqrt(4000)
    law = MarchenkoPastur(ratio=0.5, sigma2=0.3)
    alone = np.sort(law.rvs((4000, 4), np.random.default_rng(0)), axis=1)
    assert permutation_test(alone, exact, n_resamples=199).p_value < 0.01  # the twin: what it was


@pytest.mark.slow
def test_a_start_in_one_well_is_not_taken_for_dynamics(tmp_path, capsys, sketched):
    """A barrier of 40 g²: the pair stays on the left, the law has it split; the command says so."""
    options = (
        "--potential quartic --omega -4 --g2 0.1 --levels 2 --start -2.2,-1.8 --members 200 --samples 500"
    )
    arguments = ["dyson", *options.split(), "--steps", "50", "--time", "2"]
    assert main([*arguments, "--json", "--quiet", "--out", str(tmp_path / "left")]) == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out.splitlines()[-1])
    assert summary["wells"] == 2 and summary["mixed_between_wells"] is False and summary["crossings"] < 0.1
    assert "tell of the start" in shown.err
    means = summary["stationary_levels_mean"]
    assert means[0] < -1.7 and means[1] > 1.7  # the law itself is split


def test_mixing_tells_trajectories_that_crossed_from_those_that_did_not():
    gas = dyson.CoulombGas(dyson.quartic(1.0, -4.0), 0.1, 1.0, n=2)
    law = gas.sample(jax.random.key(0), 4000)
    left, right = np.array([-2.1, -1.9]), np.array([1.9, 2.1])
    split = np.array([-2.0, 2.0])

    def path(*records):
        levels = np.stack([np.tile(one, (1000, 1)) if one.ndim == 1 else one for one in records], axis=1)
        return dyson.Path(levels, np.arange(len(records)), "implicit", 1, 1.0, 1.0, 0.0)

    stuck = dyson.mixing(gas, path(left, left), law)
    assert stuck.wells == 2 and stuck.crossings == 0 and stuck.mixed is False and stuck.p_value < 1e-6
    assert dyson.mixing(gas, path(law[:1000], law[:1000]), law).mixed is None
    often = dyson.mixing(gas, path(left, split, right, split, left), law)
    assert often.crossings == 4 and often.mixed is True
    assert dyson.mixing(dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 2), path(left, left), law) is None
