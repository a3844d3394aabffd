"""The guard of the speed, with made-up numbers."""

import math

from dysonjax.bench.regression import regressions

COMMITTED = {"rbm": {"plain_vmap": 10.0, "limit": 0.5}, "linear": {"plain_vmap": 4.0}}


def test_equal_better_and_slightly_worse_ratios_pass():
    measured = {"rbm": {"plain_vmap": 8.1, "limit": 0.9}, "linear": {"plain_vmap": 4.0}}
    assert regressions(measured, COMMITTED) == []


def test_a_loss_of_over_20_percent_is_named():
    measured = {"rbm": {"plain_vmap": 7.0, "limit": 0.5}, "linear": {"plain_vmap": 4.0}}
    (sentence,) = regressions(measured, COMMITTED)
    assert sentence == "rbm: the ratio to plain_vmap fell by 30 %, from 10 to 7"


def test_a_ratio_that_is_gone_or_not_a_number_does_not_pass():
    measured = {"rbm": {"plain_vmap": math.nan, "limit": 0.5}}
    found = regressions(measured, COMMITTED)
    assert len(found) == 2 and "linear: no ratio to plain_vmap" in found[1]
