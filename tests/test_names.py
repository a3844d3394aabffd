"""A name has one meaning in the public interface; former names work for a version, and warn."""

import dataclasses
import inspect

import numpy as np
import pytest

import dysonjax as dj
from dysonjax import renamed
from tests.test_docstrings import _methods, public

# Words that a type may hold, and words that it may not. Whatever else it could mean has another name.
MEANINGS = {
    "ratio": ({"float", "ArrayLike"}, set()),  # r = N/M; that of spacings is `spacing_ratio`
    "n": ({"int"}, set()),  # number of levels; resamples are `n_resamples`, draws `n_samples`
    "shape": ({"Shape", "tuple"}, {"float", "ArrayLike"}),  # of an array; not a strength
    "levels": ({"ArrayLike", "ndarray"}, {"int", "str"}),  # eigenvalues; their number is `n`
    "statistic": ({"Callable"}, {"str", "float"}),  # a function of levels; distances have a `metric`
    "blocks": ({"Sequence"}, {"int"}),  # variances by block; how many there are is `n_blocks`
    "matrices": ({"Callable", "str", "Matrix"}, {"int"}),  # which ones; how many there are is `n_matrices`
    "null": ({"ArrayLike", "ndarray"}, {"int"}),  # what data are compared with; how many, `n_null`
    "key": ({"Key", "Array", "int"}, {"str"}),  # randomness
    "sigma2": ({"float", "ndarray", "Numbers", "ArrayLike"}, set()),  # σ², never a width
    "draws": ({"bool"}, set()),  # whether a model's batches are drawn; how many are, `n_samples`, `n_batches`
    "steps": ({"int"}, {"Sequence", "tuple"}),  # their number; which ones are `records`
    "level": (
        {"int"},
        {"float"},
    ),  # the number of a level; a p-value has a `significance`, a line a `contour`
    "knots": ({"ArrayLike", "ndarray"}, {"int"}),  # where they are; how many, `n_knots`
    "memory": ({"Any"}, {"int"}),  # what a network carries from step to step
    "resamples": (set("-"), set()),  # nobody has it: `n_resamples`
}
# Two meanings that stay, and why. A name of a method of a class is listed with the class.
STAY = {
    ("dysonjax.analysis.phase.classification.Thresholds", "memory"): "the bound on the observable "
    "feature_memory; memory of the start is a standard word of glasses, and --threshold-memory an option",
    ("dysonjax.spectra.resampling.Estimate", "level"): "the argument of confidence(), itself a former name",
}
SAID = {"ratio": "N/M", "n": "umber of |evels", "sigma2": "σ²|σ_i²"}  # what the explanation of it holds
GONE = {"seed"}  # as randomness: it is `key`; `world_of` and `member_of` ask for the index of a seed
INDEX = ("world_of", "member_of")


def named(value) -> dict[str, str]:
    """Arguments and fields of something public, with their types as text."""
    if inspect.isclass(value):
        fields = (
            {f.name: f.type for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else {}
        )
        fields |= value.__annotations__ if hasattr(value, "_fields") else {}
        inside = [named(method) for method in _methods(value).values()]
        own = {name: _text(kind) for name, kind in fields.items() if not name.startswith("_")}
        return {name: kind for one in (*inside, own) for name, kind in one.items()}
    return {name: _text(p.annotation) for name, p in inspect.signature(value).parameters.items()}


def _text(kind) -> str:
    text = kind if isinstance(kind, str) else str(kind).removeprefix("<class '").removesuffix("'>")
    return "ArrayLike" if "_nested_sequence" in text else text  # which NumPy spells out


def faults(place: str, value) -> list[str]:
    wrong = []
    for name, kind in named(value).items():
        may, may_not = MEANINGS.get(name, (set(), set()))
        outer = kind.replace("dict[str, ", "")  # of a table of arrays, what the arrays are
        if (place, name) in STAY:
            continue
        right = not may or any(word in outer for word in may)
        if not right or any(word in outer.replace("tuple[int", "") for word in may_not):
            wrong.append(f"{place}: {name} is {kind}")
        if name in GONE and not place.endswith(INDEX):
            wrong.append(f"{place}: {name}")
        said = inspect.getdoc(value) or ""
        if name in SAID and inspect.isfunction(value) and not any(s in said for s in SAID[name].split("|")):
            wrong.append(f"{place}: {name} is not said to be {SAID[name]}")
    return wrong


@pytest.mark.parametrize(("place", "value"), public().items(), ids=public())
def test_a_name_has_one_meaning(place, value):
    assert not faults(place, value)


def test_a_second_meaning_is_noticed():
    def sample(levels: int, statistic: str, shape: float = 1.0, ratio: str = "", seed: int = 0):
        """Number of levels."""

    assert len(faults("made.up", sample)) == 6  # `ratio` has neither the type nor the explanation

    def draw(draws: int, steps: list, level: float, knots: int, memory: int, resamples: int):
        """As they were once."""

    assert len(faults("made.up", draw)) == 6

    @dataclasses.dataclass
    class Found:
        statistic: float

    assert faults("made.up", Found) == ["made.up: statistic is float"]


def test_no_two_public_functions_share_a_name():
    names = [place.rsplit(".", 1)[1] for place, value in public().items() if inspect.isfunction(value)]
    meant = {"rbm"}  # the model and the potential of its levels
    assert {name for name in names if names.count(name) > 1} <= meant | {"compare", "spectrum"}


def test_what_stays_is_there():
    for place, name in STAY:
        assert name in named(public()[place])


X = np.sort(np.random.default_rng(0).random((12, 6)), axis=1)
PAIR = X[:, :2]
WALKS = np.random.default_rng(1).normal(size=(50, 6, 1)).cumsum(axis=1)
TAIL = dj.spectra.fit_power_law(np.random.default_rng(0).pareto(2.0, 200) + 1, n_resamples=0)
COMPARED = dj.compare.compare("before", "after", X, X + 1, n_resamples=9)
CALLS = [
    (lambda **k: dj.spectra.bootstrap(X, np.mean, **k).estimate_err, {"n": 30}, {"n_resamples": 30}),
    (
        lambda **k: dj.spectra.permutation_test(X, X + 0.1, **k).p_value,
        {"statistic": "energy", "n": 9, "levels": "pooled"},
        {"metric": "energy", "n_resamples": 9, "comparison": "pooled"},
    ),
    (lambda **k: dj.spectra.wasserstein(X, 2 * X, **k), {"levels": "pooled"}, {"comparison": "pooled"}),
    (lambda **k: dj.spectra.spacing_test(X, 0.5, **k).ratio_p, {"n": 20}, {"n_resamples": 20}),
    (
        lambda **k: dj.spectra.TwoSpecies(**k).var(),
        {"sigma1": 2, "sigma2": 1},
        {"sigma_wide": 2, "sigma_narrow": 1},
    ),
    (lambda **k: dj.dyson.laguerre(**k).drift(2.0), {"shape": 3.0}, {"hard_edge": 3.0}),
    (
        lambda **k: dj.dyson.linear_network(1.0, **k).drift(2.0),
        {"levels": "singular values"},
        {"variable": "singular values"},
    ),
    (lambda **k: dj.dyson.CoulombGas(dj.dyson.quadratic(), 0.5, **k).n, {"levels": 3}, {"n": 3}),
    (lambda **k: dj.spectra.mean_spacing_ratio(X, **k).null_err, {"draws": 9}, {"n_samples": 9}),
    (
        lambda **k: dj.models.rbm_fluctuations.rbm_levels([4.0], 0.1, **k).sum(),
        {"draws": 9},
        {"n_samples": 9},
    ),
    (
        lambda **k: dj.models.elementwise_langevin(dj.models.linear(), **k).config,
        {"draws": 9},
        {"n_batches": 9},
    ),
    (
        lambda **k: dj.dyson.measure(WALKS, np.arange(6.0), **k).knots.shape,
        {"knots": 3},
        {"n_knots": 3},
    ),
    (
        lambda **k: dj.phase.falling_line(np.array([0.1, 1.0]), np.array([1.0, 0.0]), **k),
        {"level": 0.5},
        {"contour": 0.5},
    ),
    (lambda **k: bool(TAIL.accepted(**k)), {"level": 0.2}, {"significance": 0.2}),
    (lambda **k: dj.compare.verdict(**k), {"steps": (COMPARED,)}, {"comparisons": (COMPARED,)}),
]


@pytest.mark.parametrize(("call", "old", "new"), CALLS)
def test_a_former_argument_works_and_warns_the_caller(call, old, new):
    with pytest.warns(DeprecationWarning, match="is now called") as caught:
        assert call(**old) == call(**new)
    assert len(caught) == len(old) and {one.filename for one in caught} == {__file__}


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="both n_resamples and n, its former name"):
        dj.spectra.bootstrap(X, np.mean, n=30, n_resamples=30)


def test_names_and_keys_that_changed_together_warn_once_each():
    with pytest.warns(DeprecationWarning) as caught:
        dj.spectra.bootstrap(X, np.mean, n=30, seed=1)
    assert sorted(str(one.message) for one in caught) == [
        "the argument n of bootstrap is now called n_resamples",
        "the argument seed of bootstrap is now called key",
    ]
    assert {one.filename for one in caught} == {__file__}


def test_former_fields_can_be_read():
    gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), 0.5, n=3)
    test = dj.spectra.permutation_test(X, X, n_resamples=9)
    fit = dj.spectra.fit_two_species(
        np.random.default_rng(0).normal(size=(40, 2)).cumsum(axis=1), n_resamples=2
    )
    spacing = dj.spectra.spacing_test(X, 0.5, n_resamples=20)
    fields = (
        (gas, "levels", "n"), (test, "statistic", "distance"), (test, "n", "n_resamples"),
        (fit, "sigma1", "sigma_wide"), (fit, "sigma2_err", "sigma_narrow_err"),
        (spacing, "ratio", "spacing_ratio"),
    )  # fmt: skip
    for value, old, new in fields:
        with pytest.warns(DeprecationWarning, match=f"^{old} is now called {new}$"):
            assert getattr(value, old) == getattr(value, new)


def test_a_function_that_is_called_otherwise_now_works_and_warns():
    with pytest.warns(DeprecationWarning, match="dyson.level_density is now called dyson.marginal_density"):
        old = dj.dyson.level_density(X, bins=4)
    np.testing.assert_array_equal(old, dj.dyson.marginal_density(X, bins=4))


def test_former_entries_of_a_table_can_be_read_and_are_those_of_its_files():
    found = renamed.Fields({"mean": 1.0, "mean_err": 0.1}, mean_err="mean_sem")
    with pytest.warns(DeprecationWarning, match="the entry mean_sem is now called mean_err"):
        assert found["mean_sem"] == found["mean_err"] == 0.1
    assert found.formerly() == {"mean": 1.0, "mean_sem": 0.1} and list(found) == ["mean", "mean_err"]
    with pytest.raises(KeyError):
        found["other"]
