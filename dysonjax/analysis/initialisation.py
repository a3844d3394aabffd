"""Moments of features before training, over depth and width: the recursions of wide networks.

Layers z_l = φ(z_{l−1}) W_l with W ~ N(0, σ_W²/n), z_1 of variance K_1 = σ_W² |x|²/n_in, one input x. Given
the layer below, z_l is Gaussian with variance K = σ_W² Σφ²/n, which itself fluctuates. To first order in 1/n,
with ⟨.⟩ over a Gaussian z of variance K,

    K_{l+1} = σ_W² ⟨φ²⟩,
    V_{l+1} = χ² V_l + σ_W⁴ (⟨φ⁴⟩ − ⟨φ²⟩²),   χ = dK_{l+1}/dK_l,   V_1 = 0,

V/n the variance of the variance, so that the fourth moment of z is 3(K² + V/n): excess kurtosis 3V/(nK²).
(Roberts, Yaida and Hanin, arXiv 2106.10165.) For φ = z and relu the fluctuations multiply layer by layer and
the moment is exact: ⟨z⁴⟩/⟨z²⟩² = 3 Π (1 + a/n) over the layers below, a = 2 and 5.
"""

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
