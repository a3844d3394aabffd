"""What tests of interrupted, damaged and merged runs share; see `small_run`."""

import pytest
from small_run import GRID, MODEL, RUN, compiled_once

import dysonjax as dj
from dysonjax.ensemble import jobs, session


@pytest.fixture
def compile_once(monkeypatch):
    monkeypatch.setattr(jobs, "job", compiled_once)


@pytest.fixture
def save_often(monkeypatch):
    """Save at every record, and between them as well: in pieces of at most five steps."""
    monkeypatch.setattr(session, "SAVE_AT_RECORDS_SECONDS", 0.0)
    monkeypatch.setattr(session, "SAVE_COST", 0.0)
    monkeypatch.setattr(jobs.Pace, "piece", lambda self, left: min(5, left))


@pytest.fixture(scope="session")
def expected():
    """The results of the small run that nothing interrupts."""
    return dj.train(MODEL, GRID, **RUN).dataset
