"""What tests of several commands share."""

import pytest
from linear_run import RUN

from dysonjax.cli import main


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished `RUN`, to be read only."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert main([*RUN, "--quiet", "--out", str(out)]) == 0
    return out
