"""Fits of noise and tail, the spacing test, the noise edge and attention matrices, on members like networks.

The levels of a member are those of matrices, or share their normal scores; none of them is independent.
"""

import numpy as np
import xarray as xr
from scipy import optimize, stats

from dysonjax.analysis import attention
from dysonjax.spectra import fit_marchenko_pastur, fit_power_law, spacing_test
from dysonjax.spectra.spikes import noise_edge
from tests.calibration.frame import Coverage, PValue, inside


def wishart(rng, rows, modes, members, uniform=False, scales=0.0):
    """Levels of WᵀW/rows of unit entries, ascending; with `scales` each matrix has a scale of its own."""
    shape = (members, rows, modes)
    w = np.sqrt(3) * rng.uniform(-1, 1, size=shape) if uniform else rng.normal(size=shape)
    levels = np.linalg.svd(w / np.sqrt(rows), compute_uv=False)[:, ::-1] ** 2
    return levels * np.exp(scales * rng.normal(size=(members, 1)))


def marchenko_pastur(name, rows, modes, members, field, truth=1.0, common_scale=False, **noise):
    def experiment(rng):
        x = wishart(rng, rows, modes, members, **noise)
        fit = fit_marchenko_pastur(x, modes / rows, n_resamples=60, n_null=0, common_scale=common_scale)
        return inside(truth, getattr(fit, field), getattr(fit, f"{field}_err"))

    return Coverage(f"Marchenko–Pastur {'σ²' if field == 'sigma2' else 'A'}, {name}", experiment)


def marchenko_pastur_p(name, rows, modes, members, field, common_scale=False, **noise):
    def experiment(rng):
        x = wishart(rng, rows, modes, members, **noise)
        seed = int(rng.integers(2**31))
        fit = fit_marchenko_pastur(
            x, modes / rows, n_resamples=2, n_null=99, key=seed, common_scale=common_scale
        )
        return float(getattr(fit, field))

    which = "goodness of fit" if field == "p_value" else "p of A = 1"
    return PValue(f"Marchenko–Pastur {which}, {name}", experiment)


def pareto(rng, members, levels, correlation, body=0.5, alpha=2.5):
    """A power law above 1, half of the levels below, normal scores shared in part by a member's levels."""
    z = np.sqrt(correlation) * rng.normal(size=(members, 1))
    u = stats.norm.cdf(z + np.sqrt(1 - correlation) * rng.normal(size=(members, levels)))
    return np.where(u < body, (u / body) ** 0.5, ((1 - u) / (1 - body)) ** (-1 / (alpha - 1)))


def power_law(name, members, levels, correlation):
    def experiment(rng):
        x = pareto(rng, members, levels, correlation)
        fit = fit_power_law(x, 60, int(rng.integers(2**31)), max_candidates=30, member_axis=-2)
        return inside(2.5, fit.alpha, fit.alpha_err)

    # Where tails are short, some replicates start far off: their spread is wider than most estimates are.
    return Coverage(f"power-law exponent, {name}; may be too wide", experiment, conservative=True)


def power_law_p(name, members, levels, correlation):
    def experiment(rng):
        x = pareto(rng, members, levels, correlation)
        return float(
            fit_power_law(x, 99, int(rng.integers(2**31)), max_candidates=30, member_axis=-2).p_value
        )

    return PValue(f"power-law goodness of fit, {name}; may be too large", experiment, conservative=True)


def points_exponent(rng):
    fit = fit_power_law(pareto(rng, 1, 500, 0.0)[0], 60, int(rng.integers(2**31)), max_candidates=30)
    return inside(2.5, fit.alpha, fit.alpha_err)


def points_p(rng):
    x = pareto(rng, 1, 500, 0.0)[0]
    return float(fit_power_law(x, 99, int(rng.integers(2**31)), max_candidates=30).p_value)


def spacing_p(name, rows, modes, members, field, scales=0.0):
    def experiment(rng):
        x = wishart(rng, rows, modes, members, scales=scales)
        fit = spacing_test(x, modes / rows, n_resamples=99, key=int(rng.integers(3)))
        return float(getattr(fit, field))

    which = "spacing ratio" if field == "ratio_p" else "unfolded spacings"
    return PValue(f"{which} against noise, {name}", experiment)


def edge_p(rows, modes):
    """How improbable the largest level of a noise matrix is, by the edge that it just reaches."""

    def experiment(rng):
        largest = wishart(rng, rows, modes, 1).max()

        def beyond(probability):
            return noise_edge(1.0, rows, modes, probability) - largest

        if beyond(1e-6) > 0 or beyond(1 - 1e-6) < 0:
            return float(beyond(0.5) > 0)
        return 1 - optimize.brentq(beyond, 1e-6, 1 - 1e-6, xtol=1e-4)

    return PValue(f"edge of noise, {rows} × {modes}", experiment)


def heads(rng, seeds=16, heads=4):
    """One record of a run whose heads have scales of their own around one."""
    dims = ("seed", "record", "mode")
    data = {}
    for head in range(heads):
        levels = wishart(rng, 64, 16, seeds, scales=0.2)[:, None]
        data[f"eigenvalues_layer1_head{head + 1}_key"] = (dims, levels)
    data["alive"] = (("seed", "record"), np.ones((seeds, 1), bool))
    return xr.Dataset(data, {"record": [0]})


def attention_area(rng):
    fit = attention.marchenko_pastur(heads(rng), n_resamples=60, common_scale=True).isel(layer=0, record=0)
    return inside(1.0, float(fit["area"]), float(fit["area_err"]))


def attention_p(rng):
    fit = attention.marchenko_pastur(heads(rng), n_resamples=2, common_scale=True).isel(layer=0, record=0)
    return float(fit["p_value"])


CASES = [
    marchenko_pastur("Gaussian 64 × 16, 50 members", 64, 16, 50, "sigma2"),
    marchenko_pastur("Gaussian 64 × 16, 50 members", 64, 16, 50, "area"),
    marchenko_pastur("uniform 64 × 16, 50 members", 64, 16, 50, "sigma2", uniform=True),
    marchenko_pastur("uniform 64 × 16, 50 members", 64, 16, 50, "area", uniform=True),
    marchenko_pastur("Gaussian 16 × 4, 100 members", 16, 4, 100, "sigma2"),
    marchenko_pastur("Gaussian 16 × 4, 100 members", 16, 4, 100, "area"),
    marchenko_pastur("Gaussian 24 × 24, 50 members", 24, 24, 50, "sigma2"),
    marchenko_pastur("Gaussian 24 × 24, 50 members", 24, 24, 50, "area"),
    marchenko_pastur("64 × 16, common scale, 50 members", 64, 16, 50, "sigma2", common_scale=True),
    marchenko_pastur(
        "64 × 16 of unequal scale, common scale, 50 members",
        64,
        16,
        50,
        "area",
        common_scale=True,
        scales=0.3,
    ),
    marchenko_pastur_p("Gaussian 64 × 16, 50 members", 64, 16, 50, "p_value"),
    marchenko_pastur_p("Gaussian 64 × 16, 50 members", 64, 16, 50, "area_p"),
    marchenko_pastur_p("uniform 64 × 16, 50 members", 64, 16, 50, "p_value", uniform=True),
    marchenko_pastur_p("Gaussian 16 × 4, 100 members", 16, 4, 100, "p_value"),
    marchenko_pastur_p("Gaussian 24 × 24, 50 members", 24, 24, 50, "p_value"),
    marchenko_pastur_p("Gaussian 128 × 64, one matrix", 128, 64, 1, "p_value"),
    marchenko_pastur_p("Gaussian 128 × 64, one matrix", 128, 64, 1, "area_p"),
    marchenko_pastur_p(
        "64 × 16 of unequal scale, common scale, 50 members",
        64,
        16,
        50,
        "p_value",
        common_scale=True,
        scales=0.3,
    ),
    power_law("50 members × 16 correlated levels", 50, 16, 0.9),
    power_law("50 members × 16 independent levels", 50, 16, 0.0),
    power_law("16 members × 64 levels", 16, 64, 0.3),
    Coverage("power-law exponent, 500 independent points", points_exponent),
    power_law_p("50 members × 16 correlated levels", 50, 16, 0.9),
    power_law_p("50 members × 16 independent levels", 50, 16, 0.0),
    power_law_p("16 members × 64 levels", 16, 64, 0.3),
    PValue("power-law goodness of fit, 500 independent points", points_p),
    spacing_p("64 × 16, 50 members", 64, 16, 50, "ratio_p"),
    spacing_p("64 × 16 of unequal scale, 50 members", 64, 16, 50, "distance_p", scales=0.3),
    spacing_p("24 × 24, 20 members", 24, 24, 20, "ratio_p"),
    spacing_p("24 × 24, 20 members", 24, 24, 20, "distance_p"),
    spacing_p("128 × 64, one matrix", 128, 64, 1, "distance_p"),
    edge_p(64, 16),
    edge_p(128, 128),
    Coverage("A of a layer of attention, heads of unequal scale, 16 seeds", attention_area),
    PValue("goodness of fit of a layer of attention, heads of unequal scale, 16 seeds", attention_p),
]
