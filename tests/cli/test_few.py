"""As few networks, points, records and steps as one may ask for: what was trained is never bad input."""

import json

import numpy as np
import pytest
import xarray as xr

from dysonjax import InputError, RunError
from dysonjax.analysis import attention
from dysonjax.cli import common, main, output
from dysonjax.cli.terminal import Terminal
from dysonjax.figures.attention import Spectrum, draw_density
from dysonjax.figures.style import new_figure

ONE = "--lr 0.1 --batch-size 4 --sigma-w 1 --seeds 1 --steps 1 --records 1"
FEW = [
    f"linear {ONE}",
    f"phase-diagram {ONE} --widths 3,4,4,1 --batches 4 --steps 20 --lr 1e6 --sigma-w 1000",
    *(
        pytest.param(text, marks=pytest.mark.slow)
        for text in (
            f"rbm {ONE} --visible 2 --hidden 1",
            f"phase-diagram {ONE} --widths 3,4,4,1 --batches 4",
        )
    ),
]


@pytest.mark.parametrize("text", FEW)
def test_a_run_of_next_to_nothing_ends_well(text, tmp_path, capsys):
    assert main([*text.split(), "--quiet", "--json", "--out", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert not captured.err
    assert json.loads(captured.out)["members"] == 1
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"summary.json", "run.zarr"} < names and any(name.endswith(".png") for name in names)


def test_spectra_of_networks_that_all_diverged_are_none():
    levels = ("batch_size", "lr", "sigma_w", "seed", "record", "mode")
    point = xr.Dataset(
        {
            "eigenvalues_layer1_head1_key": (levels, np.full((1, 1, 1, 3, 2, 4), np.nan)),
            "alive": (levels[:-1], np.zeros((1, 1, 1, 3, 2), bool)),
        },
        {"record": [0, 5]},
    ).isel(batch_size=0, lr=0, sigma_w=0)
    assert attention.tails(point) == [None]
    assert np.isnan(attention.marchenko_pastur(point)["area"]).all()


def test_square_matrices_of_a_single_head_are_drawn():
    """Their law has no largest value: it diverges at zero."""
    levels = np.random.default_rng(0).standard_normal((50, 8, 8)) / 8**0.5
    levels = np.linalg.svd(levels, compute_uv=False) ** 2
    _, axes = new_figure()
    draw_density(axes, Spectrum(0, levels, 1.0, 1.0, 1.0))
    assert 0 < axes.get_ylim()[1] < 100


def test_a_figure_that_cannot_be_drawn_is_told_and_stops_nothing(tmp_path, capsys):
    def too_few():
        raise InputError("x must hold at least 2 levels")

    common.draw(Terminal(), tmp_path, "levels", too_few)
    assert capsys.readouterr().err == "warning: levels was not drawn: x must hold at least 2 levels\n"
    assert not list(tmp_path.iterdir())


def test_after_the_results_are_there_nothing_is_called_bad_input(tmp_path):
    """And nothing of them is taken back."""
    for computed, expected in ((True, RunError), (False, InputError)):
        folder = tmp_path / str(computed)
        with pytest.raises(expected, match="of something"), output.watching(None):
            output.output_folder(folder, "linear", overwrite=False)
            if computed:
                output.computed(folder)
            raise InputError("of something")
        assert folder.exists() == computed
