"""Every figure agrees with the theory line drawn in it, and its errors are small enough to see if it did not.

Made at the scale "test", with fixed seeds. The bound is 4 standard errors; for the mistake that a check
names (by default noise twice as strong) the same numbers must lie outside it: no check passes by being vague.
"""

import dataclasses

import numpy as np
import pytest

from dysonjax.published import RECIPES

BOUND = 4.0


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_figure_agrees_with_its_theory_line(recipe):
    made = recipe.make("test", None)
    assert made.checks and made.caption and made.data.sizes
    for check in made.checks:
        assert abs(check.z) < BOUND, check
        if np.isfinite(check.mistaken):
            wrong = dataclasses.replace(check, expected=check.mistaken)
            assert abs(wrong.z) > BOUND, f"too vague to see its mistake: {check}"
    assert any(np.isfinite(check.mistaken) for check in made.checks)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_quick_figure_agrees_with_its_theory_line(recipe):
    made = recipe.make("quick", None)
    assert all(abs(check.z) < BOUND for check in made.checks), made.checks
