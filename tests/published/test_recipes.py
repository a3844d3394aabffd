"""Every figure agrees with the theory line drawn in it, and its errors are small enough to see if it did not.

Made at the scale "test", with fixed seeds. The bound is 4 standard errors; for the mistake that a check
names (by default noise twice as strong) the same numbers must lie outside it: no check passes by being vague.
"""

import dataclasses
import re

import numpy as np
import pytest
import xarray as xr

from dysonjax.published import RECIPES, former
from dysonjax.published.recipe import trained_once

BOUND = 4.0
# Each takes seconds; a quick figure of the same model or run is drawn by like code, the theory of digits and
# optimisers has quick tests of its own.
LONG = (
    "width-depth",
    "gpt-spikes",
    "linear-spacings",
    "optimizers",
    "digits",
    "phase-feature-density",
    "phase-couplings",
    "linear-generalised-semicircle",
    "spikes-law",
)


def test_long_figures_are_figures():
    assert {recipe.name for recipe in RECIPES} > set(LONG)


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(r, marks=pytest.mark.slow if r.name in LONG else ()) for r in RECIPES],
    ids=lambda recipe: recipe.name,
)
def test_figure_agrees_with_its_theory_line(recipe):
    made = recipe.make("test", None)
    assert made.checks and made.caption and made.data.sizes
    assert not misnamed(recipe.name, made.data)
    for check in made.checks:
        assert abs(check.z) < BOUND, check
        if np.isfinite(check.mistaken):
            wrong = dataclasses.replace(check, expected=check.mistaken)
            assert abs(wrong.z) > BOUND, f"too vague to see its mistake: {check}"
    assert any(np.isfinite(check.mistaken) for check in made.checks)


DIFFERENCES = {("gpt-spikes", "gain_difference_err")}  # errors of what is not drawn itself
RATIO = {"mp-initialisation"}  # where `ratio` is N/M


def misnamed(figure: str, data: xr.Dataset) -> list[str]:
    """Variables that are errors by another name than x_err, or of nothing, or have a name of two meanings."""
    names = set(map(str, data.variables))
    others = [n for n in names if re.search(r"(^|_)(sem|errors?|std_?err|sd)(_|$)|_err_", n)]
    alone = [n for n in names if n.endswith("_err") and not _measured(n) & names]
    ratio = [n for n in names if n == "ratio" and figure not in RATIO]
    return sorted({*others, *ratio, *(n for n in alone if (figure, n) not in DIFFERENCES)})


def _measured(name: str) -> set[str]:
    """What an error may be that of: the logarithm of a number is no variable of its own."""
    return {name.removesuffix("_err"), re.sub("^log2_", "", name.removesuffix("_err"))}


def test_a_misnamed_variable_is_noticed():
    names = ("sem", "line_error", "x_err_head1", "peak_err", "ratio", "mean", "mean_err", "log2_mean_err")
    data = xr.Dataset({name: 0.0 for name in names})
    assert misnamed("any", data) == ["line_error", "peak_err", "ratio", "sem", "x_err_head1"]
    assert "ratio" not in misnamed("mp-initialisation", data)


@pytest.mark.parametrize("figure", former.FORMER)
def test_a_variable_is_in_files_under_its_former_name_too(figure):
    present = xr.Dataset({new: ("x", [1.0, 2.0]) for new in former.FORMER[figure]})
    written = former.with_former(figure, present)
    before = present.rename(former.FORMER[figure])
    for new, old in former.FORMER[figure].items():
        assert written[old].attrs == {"former_name_of": new} and (written[old] == written[new]).all()
    for data in (written, before, present):
        xr.testing.assert_identical(former.without_former(figure, data), present)


def test_every_figure_with_data_of_the_three_sources_has_a_recipe():
    labels = {label.strip() for recipe in RECIPES for label in recipe.source.split(";")}
    assert labels >= {
        f"[A] Fig. {n}" for n in ("1 left", "1 right", "2", "3 top", "3 bottom", "4 left", "4 right")
    }
    assert labels >= {f"[B] Fig. {n} {side}" for n in (2, 4, 5) for side in ("left", "right")}
    assert labels >= {
        f"[C] {what}"
        for what in (
            "dynamics of learning", "eigenvalue repulsion", "Wigner surmise and its collapse",
            "two-mode semicircle", "U₄ of the two-mode semicircle", "surmise against semicircle",
            "semicircle over learning rate and batch size", "Marchenko-Pastur at initialisation",
            "phase diagram of the loss", "singular values in the three phases", "external field alignment",
            "correlations in time", "nano-GPT spacings", "nano-GPT densities",
        )
    }  # fmt: skip
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_quick_figure_agrees_with_its_theory_line(recipe):
    made = recipe.make("quick", None)
    assert all(abs(check.z) < BOUND for check in made.checks), made.checks


def test_figures_that_share_an_ensemble_train_it_once():
    trained = []

    @trained_once
    def ensemble(scale, progress=None):
        trained.append(scale)
        return object()

    assert ensemble("quick") is ensemble("quick", print) and trained == ["quick"]
    assert ensemble("default") is not ensemble("quick") and trained == ["quick", "default", "quick"]
