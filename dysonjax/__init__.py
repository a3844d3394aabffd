"""dysonjax: SGD as Dyson Brownian motion, on ensembles of networks, in JAX."""

__version__ = "0.1.0"
