"""The phase figures draw from an existing run as well."""

import json

import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.published import phase, phase_maps


def test_a_run_from_before_the_published_noise_was_recorded_still_draws(phase_run):
    run = dj.read(phase_run).load()
    old = run.drop_vars(["noise_gap_published", "field_alignment_per_feature"])
    new, made = phase.phase_diagram(run), phase.phase_diagram(old)
    assert np.isnan(made.data.noise_line).all() and not np.isnan(new.data.noise_line).all()
    xr.testing.assert_identical(made.data.noise_line_variance, new.data.noise_line_variance)
    assert "at no temperature of the grid; with the variance" in made.caption
    assert "field_alignment_per_feature" not in phase.field_alignment(old).data
    with pytest.raises(InputError, match="did not record the published noise"):
        phase_maps.noise_fraction(old)


@pytest.mark.parametrize(
    "model", [{"name": "linear"}, {"name": "teacher-student", "widths": [3, 8, 8, 1]}], ids=str
)
def test_a_run_of_another_network_is_refused(model):
    with pytest.raises(InputError, match="needs a run of dysonjax phase-diagram"):
        phase.published(xr.Dataset(attrs={"config": json.dumps({"model": model})}))
