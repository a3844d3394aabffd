"""Every stated error covers and every stated p-value is uniform under its null, within binomial errors."""

import pytest

from tests.calibration.cases import all_cases
from tests.calibration.frame import Coverage, PValue, inside, run


@pytest.mark.slow
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_calibrated(case):
    outcome = run(case)
    assert outcome.holds, f"{outcome.name}: {outcome.measured}"


def test_frame_refuses_errors_of_half_the_size():
    def experiment(rng, factor):
        x = rng.normal(size=100)
        return inside(0.0, x.mean(), factor * x.std(ddof=1) / 10)

    assert run(Coverage("right", lambda rng: experiment(rng, 1.0))).holds
    assert not run(Coverage("half", lambda rng: experiment(rng, 0.5))).holds
    assert not run(Coverage("double", lambda rng: experiment(rng, 2.0))).holds
    assert run(Coverage("double", lambda rng: experiment(rng, 2.0), conservative=True)).holds
    assert not run(Coverage("half", lambda rng: experiment(rng, 0.5), conservative=True)).holds


def test_frame_refuses_p_values_that_are_not_uniform():
    assert run(PValue("right", lambda rng: rng.random())).holds
    assert not run(PValue("small", lambda rng: rng.random() ** 2)).holds
    assert not run(PValue("large", lambda rng: rng.random() ** 0.5)).holds
    assert run(PValue("large", lambda rng: rng.random() ** 0.5, conservative=True)).holds
