"""Eigenvalue dynamics without a network: potentials, integrators, Coulomb gas, measured drift and noise."""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.dyson.coulomb_gas import CoulombGas
    from dysonjax.dyson.equilibrium import (
        Density,
        equilibrium_density,
        level_density,  # noqa: F401  (former name, not in __all__)
        marginal_density,
        pair_density,
    )
    from dysonjax.dyson.integrate import Path, integrate
    from dysonjax.dyson.learning_map import MapPath, learning_map
    from dysonjax.dyson.mcmc import Chains
    from dysonjax.dyson.measure import Measured, measure
    from dysonjax.dyson.mixing import Mixing, mixing
    from dysonjax.dyson.noise import SquareRoot
    from dysonjax.dyson.pairwise import Pairwise, mixing_share
    from dysonjax.dyson.potentials import (
        Potential,
        custom,
        free,
        laguerre,
        linear_network,
        piecewise_linear,
        quadratic,
        quartic,
        rbm,
        wishart,
    )
    from dysonjax.dyson.second_order import SecondOrder, linear_second_order, rbm_second_order

__all__ = [
    "Chains",
    "CoulombGas",
    "Density",
    "MapPath",
    "Measured",
    "Mixing",
    "Pairwise",
    "Path",
    "Potential",
    "SecondOrder",
    "SquareRoot",
    "custom",
    "equilibrium_density",
    "free",
    "integrate",
    "laguerre",
    "learning_map",
    "linear_network",
    "linear_second_order",
    "marginal_density",
    "measure",
    "mixing",
    "mixing_share",
    "pair_density",
    "piecewise_linear",
    "quadratic",
    "quartic",
    "rbm",
    "rbm_second_order",
    "wishart",
]

lazy.attach(__name__)
