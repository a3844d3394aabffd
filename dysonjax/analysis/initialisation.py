"""Moments of weights and features before training, over depth and width, and the first steps of learning.

Layers z_l = φ(z_{l−1}) W_l with W ~ N(0, σ_W²/n), z_1 of variance K_1 = σ_W² |x|²/n_in, one input x. Given
the layer below, z_l is Gaussian with variance K = σ_W² Σφ²/n, which itself fluctuates. To first order in 1/n,
with ⟨.⟩ over a Gaussian z of variance K,

    K_{l+1} = σ_W² ⟨φ²⟩,
    V_{l+1} = χ² V_l + σ_W⁴ (⟨φ⁴⟩ − ⟨φ²⟩²),   χ = dK_{l+1}/dK_l,   V_1 = 0,

V/n the variance of the variance, so that the fourth moment of z is 3(K² + V/n): excess kurtosis 3V/(nK²).
(Roberts, Yaida and Hanin, arXiv 2106.10165.) For φ = z and relu the fluctuations multiply layer by layer and
the moment is exact: ⟨z⁴⟩/⟨z²⟩² = 3 Π (1 + a/n) over the layers below, a = 2 and 5.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ACTIVATIONS: dict[str, Callable] = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "identity": lambda z: z,
}
MULTIPLIES = {"relu": 5.0, "identity": 2.0}
NODES, REACH = 4001, 12.0  # of the quadrature over a Gaussian: even steps, since relu has a kink


class Moments(NamedTuple):
    """Of the pre-activations of each layer, (layers,)."""

    variance: np.ndarray  # K, of infinite width
    fluctuation: np.ndarray  # V

    def kurtosis(self, width: float) -> np.ndarray:
        """⟨z⁴⟩/⟨z²⟩² − 3 to first order in 1/width."""
        return 3 * self.fluctuation / (width * self.variance**2)


def moments(activation: str, sigma_w: float, layers: int, first: float = 1.0) -> Moments:
    """Of a network of that many layers; first: |x|²/n_in of the input.

    >>> moments("identity", 1.0, 3).kurtosis(6.0).tolist()
    [0.0, 1.0, 2.0]
    """
    z = np.linspace(-REACH, REACH, NODES)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    phi = ACTIVATIONS[activation]
    variance, fluctuation = [sigma_w**2 * first], [0.0]
    for _ in range(layers - 1):
        k = variance[-1]
        square = phi(np.sqrt(k) * z) ** 2
        second, fourth = weight @ square, weight @ square**2
        slope = sigma_w**2 * (weight @ (square * (z**2 - 1))) / (2 * k)
        variance.append(sigma_w**2 * second)
        fluctuation.append(float(slope**2 * fluctuation[-1] + sigma_w**4 * (fourth - second**2)))
    return Moments(np.round(np.array(variance), 12), np.round(np.array(fluctuation), 12))


def exact_kurtosis(activation: str, width: int, layers: int) -> np.ndarray:
    """⟨z⁴⟩/⟨z²⟩² − 3 of relu and identity at any width, (layers,)."""
    return 3 * (1 + MULTIPLIES[activation] / width) ** np.arange(layers) - 3


def level_moments(width: int) -> np.ndarray:
    """⟨tr X^k⟩/n of X = WᵀW for k = 1, 2, 3, W of n×n with N(0, 1/n) entries: exact, (3,).

    Marchenko and Pastur have 1, 2, 5 for infinite width.

    >>> level_moments(2).tolist()
    [1.0, 2.5, 9.0]
    """
    return np.array([1.0, 2 + 1 / width, 5 + 6 / width + 4 / width**2])


def learning(widths, scaling: str, base_width: int) -> np.ndarray:
    """How much the features of tanh networks [N, n, n, 1] change in the first small steps, relative.

    A step moves z_2 by α e Z (n q + (x·s) r): e the error at a sample s, Z ~ 1/√n the readout, q = ⟨φφ⟩ of
    the first layer, by which the second matrix learns, r = ⟨φ'φ'⟩, by which the first does. Standard, the
    square is proportional to n + c, c from `first_matrix`. With muP the readout starts smaller by √(base/n),
    which the learning rates make up, but e = y − f is smaller too, since f, the output at the start, has
    the variance base/n beside that of y: 1 + base/n. Further terms of relative order 1/n, from the scatter
    of q and Z, are left out in both.
    """
    widths = np.asarray(widths, float)
    return 1 + base_width / widths if scaling == "mup" else widths + first_matrix()


@functools.cache
def first_matrix(inputs: int = 3) -> float:
    """c = 2⟨(x·s) r q⟩/⟨q²⟩, twice the part of the first matrix in what the features learn, times n."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4000, inputs)) / np.sqrt(inputs)
    s, x = rng.normal(size=(2, 300, inputs))
    below, at = np.tanh(s @ weights.T), np.tanh(x @ weights.T)
    q, r = (a @ b.T / len(weights) for a, b in ((at, below), (1 - at**2, 1 - below**2)))
    return float(2 * np.mean((x @ s.T) * r * q) / np.mean(q * q))
