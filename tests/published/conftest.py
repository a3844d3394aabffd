"""What tests of figures share."""

import pytest

import dysonjax as dj
from dysonjax.published import phase


@pytest.fixture(scope="session")
def phase_run(tmp_path_factory):
    """The folder of a short run on the grid of the phase figures, to be read only."""
    out = tmp_path_factory.mktemp("runs") / "phases"
    lr, sigma_w, seeds, _ = phase.SIZES["test"]
    grid = dj.Grid(lr=lr, sigma_w=sigma_w, batch_size=4, seeds=seeds)
    dj.train(dj.models.teacher_student(), grid, 60, 4, out=out)
    return out
