"""The linear network with one hidden layer: relaxation of its modes, density of its levels. [B] 4, 5.

Teacher 2·1, so that its levels are degenerate; one Z with equal and one with unequal singular values, which
[B] does not print: they are ours, `Z_PRESETS`. Gradient noise of strength ε, weights from N(0, 0.1²).
"""

import numpy as np
import xarray as xr
from scipy.optimize import curve_fit

from dysonjax import models
from dysonjax.ensemble import Grid, train
from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, BLUE, GREEN, PAGE, RED, new_figure, style
from dysonjax.models.linear import Z_PRESETS
from dysonjax.published.recipe import Check, Recipe, Reproduction, later, value
from dysonjax.spectra import TwoMode, TwoSpecies, bootstrap, fit_two_species
from dysonjax.spectra.averages import mean_and_sem

VALUE = 2.0  # both singular values of the teacher
WIDTH = 0.1
EPSILON = 0.1
NAMES = ("equal", "unequal")
EPOCH = 500  # steps
BATCH = 16


def squares(z: str) -> np.ndarray:
    """z_i², descending."""
    return np.linalg.svd(Z_PRESETS[z], compute_uv=False) ** 2


def describe(z: str) -> str:
    return "z = " + ", ".join(f"{root:g}" for root in np.sqrt(squares(z)))


# ---- relaxation


RELAXATION_LR = 0.004
FIRST_EPOCH = 2  # fits start here, as in [B]
NETWORKS = {"test": 100, "quick": 200, "default": 500, "paper": 500}
SHOWN = 20


def relaxation(scale: str, progress=None) -> Reproduction:
    """Squared singular values over ten epochs, with exponential fits of the ensemble's averages."""
    seeds, steps = NETWORKS[scale], 10 * EPOCH
    grid = Grid(lr=RELAXATION_LR, batch_size=BATCH, sigma_w=WIDTH * np.sqrt(2), seeds=seeds)
    epochs = np.linspace(0, 10, 41)
    total = len(NAMES) * seeds * steps
    checks, curves, runs, rates = [], [], [], []
    for k, z in enumerate(NAMES):
        run = train(
            models.linear(z, values=(VALUE, VALUE), epsilon=EPSILON), grid, steps,
            (epochs * EPOCH).astype(int).tolist(), progress=later(progress, k * seeds * steps, total),
        ).dataset.isel(batch_size=0, lr=0, sigma_w=0)  # fmt: skip
        levels = run["eigenvalues"].transpose("mode", "seed", "record").values[::-1]
        found = bootstrap(
            levels, lambda x: _fit_all(epochs, x.mean(axis=-2)), n_resamples=60, vectorised=False
        )
        alone = -np.log1p(-RELAXATION_LR * squares(z)) * EPOCH
        expected = exact_relaxation(z, epochs) / alone
        for i, mode in enumerate(("fast", "slow") if z == "unequal" else ("upper", "lower")):
            mistaken, mistake = 2.0, "x relaxes at 2 α z²"
            if i and z == "unequal":
                mistaken, mistake = float(np.sqrt(squares(z)[i]) / squares(z)[i]), "rates ∝ z, not z²"
            checks.append(
                Check(
                    f"rate of the {mode} mode, {z} Z", float(found.estimate[i, 2] / alone[i]),
                    float(found.estimate_err[i, 2] / alone[i]), float(expected[i]), mistaken, mistake,
                    systematic=0.005,
                )
            )  # fmt: skip
        runs.append(levels)
        rates.append(found)
        curves.append(np.stack([_approach(epochs, *theta) for theta in found.estimate]))
    with style():
        figure, axes = new_figure(1, 2, width=PAGE, height=3.1, sharey=True)
        for axis, z, levels, curve in zip(axes, NAMES, runs, curves, strict=True):
            for row, colour in enumerate((BLUE, RED)):
                axis.plot(epochs, levels[row, :SHOWN].T, color=colour, lw=0.5, alpha=0.25)
                name = ("fast", "slow")[row] if z == "unequal" else ("upper", "lower")[row]
                label = f"{name} mode, mean of {seeds}"
                axis.plot(epochs, levels[row].mean(axis=0), color=colour, lw=1.6, label=label)
                late = epochs >= FIRST_EPOCH
                axis.plot(epochs[late], curve[row][late], color=BLACK, lw=1.0, ls="--")
            axis.plot([], [], color=BLACK, lw=1.0, ls="--", label=f"fits from epoch {FIRST_EPOCH} on")
            axis.axhline(VALUE**2, color=BLACK, lw=0.6, ls=":")
            axis.set(xlabel="epoch", title=f"{z} Z: {describe(z)}", xlim=(0, 10))
            axis.legend(loc="lower right")
        axes[0].set_ylabel(r"squared singular values $\xi_i^2$ of $W$")
    found_rates = "; ".join(
        f"{check.name.removeprefix('rate of the ')}: {value(check)} ({check.expected:.3f})"
        for check in checks
    )
    caption = (
        f"Linear network ŷ = ZWx, teacher 2·1 (its level dotted), α = {RELAXATION_LR:g}, |B| = {BATCH}, "
        f"gradient noise ε = {EPSILON:g}, W₀ ~ N(0, 0.1²), 10 epochs of {EPOCH} batches, {seeds} seeds "
        f"(root seed 0), of which {SHOWN} are shown. Z is ours, since [B] does not print its two. Fits: "
        f"ξ² = (a − b exp(−γt))² from epoch {FIRST_EPOCH} on, errors by bootstrap over seeds. Rates γ over "
        "α z², the rate of a mode by itself, and in brackets what the same fit gives for the exact mean "
        "dynamics with Gaussian noise, where noise keeps two levels apart and the first weights mix them: "
        f"{found_rates}."
    )
    averages = [mean_and_sem(x, axis=1) for x in runs]
    data = xr.Dataset(
        {
            "mean": (("z", "mode", "epoch"), np.stack([mean for mean, _ in averages])),
            "mean_err": (("z", "mode", "epoch"), np.stack([error for _, error in averages])),
            "single": (("z", "mode", "seed", "epoch"), np.stack([x[:, :SHOWN] for x in runs])),
            "fit": (("z", "mode", "epoch"), np.stack(curves)),
            "rate": (("z", "mode"), np.stack([r.estimate[:, 2] for r in rates])),
            "rate_err": (("z", "mode"), np.stack([r.estimate_err[:, 2] for r in rates])),
            "rate_theory": (("z", "mode"), np.stack([RELAXATION_LR * EPOCH * squares(z) for z in NAMES])),
        },
        {"epoch": epochs, "z": list(NAMES)},
    )
    return Reproduction(figure, data, caption, tuple(checks))


def exact_relaxation(z: str, epochs: np.ndarray, draws: int = 20_000, seed: int = 0) -> np.ndarray:
    """Rates an epoch that `_fit_all` finds in the matrix that learns from the exact mean gradient, (modes,).

    Row i of W − 2·1 shrinks by q_i = 1 − α z_i² a step and takes symmetric noise of variance s = α²ε²/|B|
    (2s on the diagonal), so that between two records a number k of steps apart the noise of rows i and j
    with the same normals has the covariance s (1 − (q_i q_j)^k)/(1 − q_i q_j). Mini-batches' own noise,
    which vanishes as the gradient does, is left out. ZᵀZ is diagonal here, as in `Z_PRESETS`.
    """
    rng = np.random.default_rng(seed)
    q = 1 - RELAXATION_LR * squares(z)
    between = np.outer(q, q)
    offset = WIDTH * rng.normal(size=(draws, 2, 2)) - VALUE * np.eye(2)
    means = []
    for steps in np.diff(epochs * EPOCH, prepend=0):
        cov = RELAXATION_LR**2 * EPSILON**2 / BATCH * (1 - between**steps) / (1 - between)
        own, shared = np.sqrt(np.diag(cov)), rng.multivariate_normal(np.zeros(2), cov, draws)
        kick = np.sqrt(2) * own * rng.normal(size=(draws, 2))
        noise = np.stack([[kick[:, 0], shared[:, 0]], [shared[:, 1], kick[:, 1]]]).transpose(2, 0, 1)
        offset = q[:, None] ** steps * offset + noise
        means.append((np.linalg.svd(VALUE * np.eye(2) + offset, compute_uv=False) ** 2).mean(axis=0))
    return _fit_all(epochs, np.transpose(means))[:, 2]


def _approach(t, top, distance, rate):
    """ξ²(t) of a mode on its way: the singular value itself approaches exponentially."""
    return (top - distance * np.exp(-rate * t)) ** 2


def _fit_all(epochs: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(top, distance, rate) of each mode, (modes, 3)."""
    late = epochs >= FIRST_EPOCH
    guess = (VALUE, VALUE, 1.0)
    return np.array([curve_fit(_approach, epochs[late], mean[late], guess)[0] for mean in means])


# ---- the generalised semicircle


SEMICIRCLE_LR = 0.1
SEMICIRCLE = {
    "test": (1_600, 300),
    "quick": (5_000, 600),
    "default": (20_000, 1_000),
    "paper": (20_000, 5_000),
}


def generalised_semicircle(scale: str, progress=None) -> Reproduction:
    """Density of both singular values with one width for both and with one for each."""
    seeds, steps = SEMICIRCLE[scale]
    grid = Grid(lr=SEMICIRCLE_LR, batch_size=BATCH, sigma_w=WIDTH * np.sqrt(2), seeds=seeds)
    total = len(NAMES) * seeds * steps
    checks, results, texts = [], [], []
    for k, z in enumerate(NAMES):
        run = train(
            models.linear(z, values=(VALUE, VALUE), epsilon=EPSILON), grid, steps, (steps,),
            progress=later(progress, k * seeds * steps, total),
        ).dataset.isel(batch_size=0, lr=0, sigma_w=0, record=-1)  # fmt: skip
        levels = np.sqrt(run["eigenvalues"].transpose("seed", "mode").values)
        drawn = exact_pairs(z, SEMICIRCLE_LR, BATCH, 40_000)
        fit, exact = fit_two_species(levels, n_resamples=60), fit_two_species(drawn, n_resamples=2)
        both, both_error = _common_width(levels)
        gain, exact_gain = (float(f.aic_two_mode - f.aic) for f in (fit, exact))
        # AIC gains grow with the number of pairs, but for the 2 that the third parameter costs.
        exact_gain = (exact_gain + 2) * seeds / len(drawn) - 2
        results.append((levels, drawn, fit, both))
        if z == "equal":
            names = [(both, both_error, _common_width(drawn)[0], "common σ")]
        else:
            names = [
                (float(fit.sigma_wide), float(fit.sigma_wide_err), float(exact.sigma_wide), "larger σ"),
                (
                    float(fit.sigma_narrow),
                    float(fit.sigma_narrow_err),
                    float(exact.sigma_narrow),
                    "smaller σ",
                ),
            ]
            # Twice a log-likelihood ratio of mean Δ scatters by about 2√Δ from ensemble to ensemble.
            checks.append(
                Check("AIC gain of two species (unequal Z)", gain, 2 * np.sqrt(exact_gain + 2), exact_gain,
                      -2.0, "both modes with one width")
            )  # fmt: skip
        for width, error, right, name in names:
            checks.append(
                Check(f"{name} ({z} Z)", width, error, right, np.sqrt(2) * right, systematic=0.02 * right)
            )
        texts.append(
            f"{z.capitalize()} Z: one width σ = {both:.5f} ± {both_error:.5f}, two widths "
            f"{float(fit.sigma_wide):.5f} ± {float(fit.sigma_wide_err):.5f} and "
            f"{float(fit.sigma_narrow):.5f} ± {float(fit.sigma_narrow_err):.5f}, AIC of one "
            f"width minus AIC of two {gain:+.1f}"
        )
    densities, fits = [], []
    with style():
        figure, axes = new_figure(1, 2, width=PAGE, height=3.2)
        for axis, z, (levels, drawn, fit, both) in zip(axes, NAMES, results, strict=True):
            reach = 4.0 * levels.std()
            limits = (VALUE - reach, VALUE + reach)
            found = panels.density(axis, levels, 40, limits, label="ensemble")
            one = panels.law(  # on top: for equal Z both laws are the same line
                axis, TwoMode(both, VALUE).pdf, limits, color=RED, ls="--", zorder=3,
                label="one width: semicircle",
            )  # fmt: skip
            two_law = TwoSpecies(float(fit.sigma_wide), float(fit.sigma_narrow), float(fit.center))
            two = panels.law(axis, two_law.pdf, limits, label="two widths: generalised")
            counts, _ = np.histogram(drawn, found.edges)
            theory = counts / drawn.size / np.diff(found.edges)
            axis.stairs(theory, found.edges, color=GREEN, lw=0.9, label="theory, nothing fitted")
            axis.set_ylim(0, 1.15 * found.density.max())
            axis.set(xlabel=r"singular value $\xi$ of $W$", title=f"{z} Z: {describe(z)}")
            densities.append((found, theory))
            fits.append((one, two))
        axes[0].set_ylabel(r"density $\rho(\xi)$")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    widths = results[1][2]
    caption = (
        f"Linear network ŷ = ZWx, teacher 2·1, α = {SEMICIRCLE_LR:g}, |B| = {BATCH}, gradient noise ε = "
        f"{EPSILON:g}, {seeds} seeds (root seed 0), last of {steps} steps; Z is ours, since [B] does not "
        f"print its two. Widths are fitted to the pairs by maximum likelihood. {'. '.join(texts)}. The "
        "two-species law expects σ₁/σ₂ = 2 for z = 1, 0.5; found "
        f"{float(widths.sigma_wide / widths.sigma_narrow):.2f}, because both modes of the matrix feel one "
        "noise, which mixes them: the stepped line is the exact matrix."
    )
    data = xr.Dataset(
        {
            "density": (("z", "bin"), np.stack([d.density for d, _ in densities])),
            "density_err": (("z", "bin"), np.stack([d.density_err for d, _ in densities])),
            "xi": (("z", "bin"), np.stack([d.centers for d, _ in densities])),
            "theory": (("z", "bin"), np.stack([t for _, t in densities])),
            "fit_xi": (("z", "fine"), np.stack([one[0] for one, _ in fits])),
            "one_width": (("z", "fine"), np.stack([one[1] for one, _ in fits])),
            "two_widths": (("z", "fine"), np.stack([two[1] for _, two in fits])),
        },
        {"z": list(NAMES)},
    )
    return Reproduction(figure, data, caption, tuple(checks))


def exact_pairs(z: str, lr: float, batch_size: int, draws: int, seed: int = 0) -> np.ndarray:
    """Levels of W about the teacher 2·1 for diagonal ZᵀZ at rest, (draws, 2): the Gaussian matrix itself.

    Row i of W forgets by 1 − a_i a step, a_i = α z_i², and both rows feel one symmetric noise of variance
    s = α²ε²/|B| (2s on the diagonal): ⟨W_ij W_kl⟩ = s/(a_i + a_k − a_i a_k) for the entries with the same
    noise. To first order the singular values of 2·1 + δ are those of the symmetric part of δ.
    """
    a = lr * squares(z)
    s = lr**2 * EPSILON**2 / batch_size
    own = s / (a * (2 - a))
    shared = s / (a.sum() - a.prod())
    normals = np.random.default_rng(seed).normal(size=(draws, 3))
    first, second = normals[:, :2].T * np.sqrt(2 * own)[:, None]
    mixing = normals[:, 2] * np.sqrt((own.sum() + 2 * shared) / 4)
    middle, half = (first + second) / 2, np.hypot((first - second) / 2, mixing)
    return VALUE + np.stack([middle - half, middle + half], axis=1)


def _common_width(levels: np.ndarray) -> tuple[float, float]:
    """σ of one width for both levels, by maximum likelihood of the pair, and its error over members."""
    each = ((levels - levels.mean()) ** 2).sum(axis=1) / 3
    mean, error = mean_and_sem(each)
    return float(np.sqrt(mean)), float(error / (2 * np.sqrt(mean)))


RELAXATION_RECIPE = Recipe(
    "linear-relaxation",
    "[B] Fig. 4 left; [B] Fig. 4 right",
    "Relaxation of the linear network's modes at the rates α z²",
    relaxation,
    {"quick": 15, "default": 15, "paper": 15},
)
SEMICIRCLE_RECIPE = Recipe(
    "linear-generalised-semicircle",
    "[B] Fig. 5 left; [B] Fig. 5 right",
    "Semicircle and generalised semicircle of the linear network's levels",
    generalised_semicircle,
    {"quick": 15, "default": 35, "paper": 110},
)
