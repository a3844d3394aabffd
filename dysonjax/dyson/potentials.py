"""All potentials by their names, and what each of them is; every kind has a file of its own."""

from dysonjax.dyson.custom_potential import custom
from dysonjax.dyson.learning_potentials import linear_network, rbm
from dysonjax.dyson.piecewise import piecewise_linear
from dysonjax.dyson.potential import UNBOUNDED, Potential, slope
from dysonjax.dyson.wells import free, laguerre, quadratic, quartic, wishart

__all__ = [
    "UNBOUNDED",
    "Potential",
    "custom",
    "free",
    "laguerre",
    "linear_network",
    "piecewise_linear",
    "quadratic",
    "quartic",
    "rbm",
    "slope",
    "wishart",
]
