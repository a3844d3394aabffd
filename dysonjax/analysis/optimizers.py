"""The temperature of an optimiser: Dyson motion of the levels under momentum, Adam and Muon.

The system. Weights W (2, 2) of the linear network with Z = 1 near its teacher W* = v·1, δ = W − W*. The
gradient of a step is δ + G with G symmetric Gaussian noise of variance ε²/|B| off the diagonal and twice that
on it. The two singular values of W are v + t ± √(a² + b²) with t = (δ₁₁ + δ₂₂)/2 the centre,
a = (δ₁₁ − δ₂₂)/2 and b = (δ₁₂ + δ₂₁)/2. For small learning rates each of the three is an Ornstein-Uhlenbeck
process,

    x′ = x − Ω_x x + √2 g_x η a step,     variance at rest g_x²/Ω_x,

whatever the optimiser; it decides what Ω and g² are. The centre shows Ω_t and g_t². A level moves with the
noise g² = g_t² + g_s², g_s² being g_a² or g_b² by the direction in which the pair is split, and is repelled
by the other as by β = 2g_s²/g². In units of s = ε/√|B|, the noise of t, a and b in one gradient:

sgd         Ω = α, g² = α²s²/2 each. Both make the temperature α/|B|: variance αε²/(2|B|).
momentum    A gradient acts 1/(1−μ) times, over 1/(1−μ) steps: α becomes α/(1−μ) in both. Temperature
            α/((1−μ)|B|).
adam        Every element is divided by the root of its mean square, which is the noise: √2 s on the diagonal,
            s off it. Ω_t = Ω_a = α/(√2 s), Ω_b = α/s; the noise of an element in a step is α, whatever |B|:
            g_t² = g_a² = α²/4, g_b² = α²/2. Temperature ~ α/√|B|, and the variance of b is αε/(2√|B|), of
            the first order in ε where SGD's is of the second. No rotation leaves Adam as it is: a and b
            differ by √2, and the levels no longer follow the surmise exactly. The averages' memory μ changes
            nothing.
adamw       Adds αλ to each Ω, and pulls W towards 0: the centre moves by −v αλ/(Ω_t + αλ).
muon        A step is α f(u), u the average of gradients. Its memory makes u smaller than a gradient's noise
            by κ = √Σw², w_k the weight of the gradient k steps ago: κ ≈ √((1−μ)/(1+μ)). f depends on the
            direction of (t, a, b) in u alone, so that the step has a size of its own, as with Adam. A small
            drift δ turns that direction: Ω_x = (α/(κs)) c_x, c_x = ⟨∂f_x/∂x⟩ = ⟨f_x x⟩ by Stein's lemma.
            The noise of successive steps is correlated as the averages are,
            g_x² = (α²/2) Σ_k ⟨f_x(u_0) f_x(u_k)⟩. Temperature ~ α/√|B| again, and ~ √((1+μ)/(1−μ)): memory
            counts, since Muon measures the averages by their own size, Adam by that of a gradient.

Where the noise of a gradient is not much larger than the gradient at rest, Ω ≪ 1 fails, and with it the
formulas. No formula has a fitted number.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ellipe
from scipy.stats import qmc

from dysonjax import dyson
from dysonjax.ensemble.optimizers import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024; the coefficients that optax takes
NEWTON_SCHULZ_STEPS = 5
NAMES = ("t", "a", "b")


class Measured(NamedTuple):
    """Of an ensemble: (value, standard error over members)."""

    rate: tuple[float, float]  # Ω_t, per step
    g2: tuple[float, float]  # of a level, squared weights per step; the mean of both
    centre_g2: tuple[float, float]  # g_t²
    mean_spacing: tuple[float, float]


class Motion(NamedTuple):
    """What an optimiser makes of drift and noise; arrays (..., 3) over t, a and b of the module's text."""

    rate: np.ndarray  # Ω, per step
    g2: np.ndarray  # g², squared weights per step
    shift: np.ndarray  # of the centre at rest, as a part of v, (...)
    memory: float  # steps over which the noise of steps is correlated

    @property
    def variance(self) -> np.ndarray:
        """Of t, a and b at rest, (..., 3)."""
        return self.g2 / self.rate

    @property
    def mean_spacing(self) -> np.ndarray:
        """⟨S⟩ of the two levels: S = 2√(a² + b²) of two Gaussian numbers, (...)."""
        small, large = np.moveaxis(np.sort(4 * self.variance[..., 1:], axis=-1), -1, 0)
        return np.sqrt(2 / np.pi * large) * ellipe(1 - small / large)

    @property
    def beta(self) -> np.ndarray:
        """Of the repulsion between the levels, (...); 1 where t, a and b have the same noise."""
        return 2 * (1 - self.g2[..., 0] / self.level_g2)

    @property
    def level_g2(self) -> np.ndarray:
        """g² of a level: that of the centre, and that of the splitting in its own direction, (...)."""
        a, b = np.moveaxis(np.sqrt(self.variance[..., 1:]), -1, 0)
        share = b / (a + b)  # ⟨b²/(a² + b²)⟩ of two Gaussian numbers
        return self.g2[..., 0] + (1 - share) * self.g2[..., 1] + share * self.g2[..., 2]


def motion(optimizer: str | Optimizer, epsilon, lr, batch_size) -> Motion:
    """Drift and noise of the levels of the linear network with gradient noise, to first order in Ω.

    epsilon, lr, batch_size: numbers or arrays that broadcast.

    >>> motion("momentum", 1.0, 0.001, 10).rate.round(6).tolist()
    [0.01, 0.01, 0.01]
    """
    optimizer = Optimizer(optimizer) if isinstance(optimizer, str) else optimizer
    epsilon, lr, batch_size = np.broadcast_arrays(
        *(np.asarray(x, np.float64)[..., None] for x in (epsilon, lr, batch_size))
    )
    one, noise, mu = np.ones(3), epsilon / np.sqrt(batch_size), optimizer.momentum
    if optimizer.name in ("sgd", "momentum"):
        rate = lr / (1 - mu) * one
        g2 = 0.5 * (lr / (1 - mu) * noise) ** 2 * one
        memory = mu / (1 - mu)
    elif optimizer.name in ("adam", "adamw"):
        rate = lr / noise * np.array([np.sqrt(0.5), np.sqrt(0.5), 1.0])
        g2 = 0.5 * lr**2 * np.array([0.5, 0.5, 1.0])
        memory = mu / (1 - mu)
    else:
        response, power, memory, narrowing = _muon(mu)
        rate = lr / (noise * narrowing) * response
        g2 = 0.5 * lr**2 * power * one
    decay = lr * optimizer.weight_decay
    shift = -(decay / (rate + decay))[..., 0]
    return Motion(rate + decay, g2 * np.ones_like(rate), shift, memory)


def temperature(optimizer: str | Optimizer, epsilon, lr, batch_size) -> np.ndarray:
    """The α/|B| at which plain gradient steps of small α have the same mean spacing, ⟨S⟩² = π T ε².

    >>> float(temperature("momentum", 1.0, 0.001, 10).round(6))
    0.001
    """
    return motion(optimizer, epsilon, lr, batch_size).mean_spacing ** 2 / (np.pi * np.square(epsilon))


def measure(levels: np.ndarray, steps: np.ndarray, beta: float = 1.0) -> Measured:
    """Drift and noise of two levels at rest, from records (members, records, 2) at equal distances of steps.

    beta: of the repulsion, as `Motion.beta` has it. The drift is that of the centre, which none moves.
    Records far apart compared with the memory of an optimiser see its noise as white but for the time of a
    memory at either end, so that K and g² over an interval Δ are low by terms in 1/Δ: twice those of 2Δ less
    those of Δ have none.
    """
    centre = levels.mean(axis=2, keepdims=True)
    rate, own, level = [], [], []
    for stride in (1, 2):
        at, times = slice(None, None, stride), steps[::stride]
        alone = dyson.measure(centre[:, at], times, n_knots=2, repulsion=False)
        both = dyson.measure(levels[:, at], times, beta, n_knots=2)
        rate.append((-alone.slope[0], alone.slope_err[0]))
        own.append((alone.g2[0], alone.g2_err[0]))
        level.append((both.g2.mean(), np.sqrt(np.mean(both.g2_err**2))))  # two levels of one member: as one
    spacing = np.diff(levels, axis=2)[:, :, 0].mean(axis=1)
    mean = (float(spacing.mean()), float(spacing.std(ddof=1) / np.sqrt(len(spacing))))
    return Measured(_far(rate), _far(level), _far(own), mean)


def _far(pair) -> tuple[float, float]:
    (near, near_err), (far, far_err) = pair
    return float(2 * far - near), float(np.hypot(2 * far_err, near_err))


@functools.cache
def _muon(mu: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """c_x, Σ_k ⟨f_x f_x(k)⟩, the memory in steps and κ; see the module's text."""
    # Nesterov: the average, and (1 − μ) of the gradient of the step itself. w_k of u = Σ_k w_k gradient_k.
    length = int(np.ceil(40 / (1 - mu)))
    weights = (1 - mu) * mu ** np.arange(1.0, length + 1)
    weights[0] += 1 - mu
    weights /= weights.sum()
    correlation = np.correlate(weights, weights, "full")[length - 1 :] / np.sum(weights**2)

    # Quadrature over the direction of (t, a, b), with cos θ = t/R; R has the mean √(8/π).
    cosine, measure = np.polynomial.legendre.leggauss(400)
    centre, radial = _orthogonalised(cosine, np.sqrt(1 - cosine**2))
    mean = np.sqrt(8 / np.pi) * 0.5 * measure
    split = 0.5 * np.sum(mean * radial * np.sqrt(1 - cosine**2))
    response = np.array([np.sum(mean * centre * cosine), split, split])

    strength = _autocovariance()
    along = np.stack([interpolate(correlation) for interpolate in strength])
    power = along[:, 0] + 2 * along[:, 1:].sum(axis=1)
    memory = float((along[0, 1:].sum()) / along[0, 0])
    return response, power[[0, 1, 1]], memory, float(np.sqrt(np.sum(weights**2)))


@functools.cache
def _autocovariance() -> tuple[PchipInterpolator, PchipInterpolator]:
    """⟨f_t f_t′⟩ and ⟨f_a f_a′⟩ of Gaussian (t, a, b) and (t, a, b)′ with correlation ρ, functions of ρ."""
    draws = qmc.MultivariateNormalQMC(np.zeros(6), seed=0).random(2**14)
    first, other = draws[:, :3], draws[:, 3:]
    correlations = 1 - np.linspace(1, 0, 21) ** 2  # dense where f, which has a kink, is not smooth
    found = np.zeros((2, len(correlations)))
    for place, rho in enumerate(correlations):
        second = rho * first + np.sqrt(1 - rho**2) * other
        values = [_steps(direction) for direction in (first, second)]
        found[:, place] = np.mean(values[0] * values[1], axis=1)
    found[:, 0] = 0.0
    return tuple(PchipInterpolator(correlations, row) for row in found)


def _steps(noise: np.ndarray) -> np.ndarray:
    """f_t and f_a, (2, n), of t, a, b (n, 3)."""
    radius = np.hypot(noise[:, 1], noise[:, 2])
    centre, radial = _orthogonalised(noise[:, 0], radius)
    return np.stack([centre, radial * noise[:, 1] / radius])


def _orthogonalised(t: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half of the splitting of what Newton-Schulz makes of the eigenvalues t ± radius."""
    levels = np.stack([t + radius, t - radius])
    levels = levels / np.sqrt(np.sum(levels**2, axis=0))
    first, third, fifth = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        levels = levels * (first + levels**2 * (third + fifth * levels**2))
    return 0.5 * (levels[0] + levels[1]), 0.5 * (levels[0] - levels[1])
