"""The text of a kernel, as C, trains as XLA does: every model, cut over one, eight or sixteen threads."""

import kernels
import pytest

pytestmark = pytest.mark.usefixtures("stand_in")
CALM = {"linear": (0.01, 0.02, 0.05), "gibbs": (0.002, 0.005, 0.01), "collapsed": (0.002, 0.005, 0.01)}
STUDENT = (0.05, 0.1, 0.2)
PIECES = [9, 1, 22]
# Sums are added in another order, and functions of XLA's are approximations of their own.
ROUNDING = 4e-6


def close(found, expected, most=ROUNDING):
    assert (found[-1] == expected[-1]).all()
    assert kernels.difference(found, expected) < most


@pytest.mark.parametrize("threads", [1, 8, 16])
@pytest.mark.parametrize("name", ["student", "online", "all", "identity", "linear", "gibbs"])
def test_a_network_in_threads_trains_as_by_xla(name, threads):
    if name == "linear" and threads > 4:
        threads //= 4  # there are four numbers
    one = kernels.case(name, CALM.get(name, STUDENT))
    found = kernels.by_threads(one, kernels.layout(one, threads), PIECES)
    close(found, kernels.by_xla(one, sum(PIECES)))
