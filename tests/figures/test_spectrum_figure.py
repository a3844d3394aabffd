"""The figure of one spectrum is drawn for anything that can be analysed."""

import io

import numpy as np
import pytest

from dysonjax.figures.spectrum import spectrum_figure
from dysonjax.spectra import analyse_matrix

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "shape", [(96, 48), (5, 4), *(pytest.param(shape, marks=SLOW) for shape in ((20, 24, 16), (30, 30)))]
)
def test_panels_are_labelled(shape):
    spectrum = analyse_matrix(np.random.default_rng(0).normal(size=shape), "layer.weight", n_resamples=20)
    figure = spectrum_figure(spectrum)
    assert len(figure.axes) == 3
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("matrix", [np.zeros((12, 9)), np.ones((12, 9))])
def test_degenerate_matrices_are_drawn(matrix):
    spectrum_figure(analyse_matrix(matrix)).savefig(io.BytesIO())


def test_density_integrates_to_the_share_of_levels_shown():
    spectrum = analyse_matrix(np.random.default_rng(1).normal(size=(96, 48)), n_resamples=20)
    bars = spectrum_figure(spectrum).axes[0].patches
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1)
