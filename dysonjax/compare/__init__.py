"""The ladder from SGD to closed forms: what each approximation costs. [A] 2.1-2.5, 3.1; [B]; [C].

Five ensembles of levels, each with one approximation more than the one before:
1. SGD, with its own noise (the RBM's persistent chains, the linear network's mini-batches);
2. matrix Langevin: exact mean gradient, Gaussian noise of the same covariance;
3. Dyson Brownian motion of the levels alone, dx_i = (K_i + Σ_j g_i²/(x_i − x_j)) dt + √2 g_i dB_i, or its
   refinement to second order in √(α/|B|), see `dysonjax.dyson.second_order`;
4. the Coulomb gas, the stationary law of 3;
5. closed forms: every degenerate block alone, Gaussian about its target, blocks independent of each other;
   to second order, levels of a Gaussian matrix about the shifted targets (`models.rbm_fluctuations`).

Levels are eigenvalues of X = σ_h² WᵀW for the RBM and singular values of W for the linear network. All
ensembles are drawn independently, with common laws for the start, so that differences have honest errors.
"""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.compare.ladder import Ladder, check, ladder, ladders, overview, summarise
    from dysonjax.compare.rungs import (
        CLOSED,
        DYSON,
        GAS,
        LANGEVIN,
        RUNGS,
        SGD,
        closed_forms,
        dyson_levels,
        gas_levels,
        start_levels,
        trained,
    )
    from dysonjax.compare.steps import Step, compare, verdict
    from dysonjax.compare.systems import OPTIONS, STEPS, System, linear_system, rbm_system
    from dysonjax.spectra.averages import mean_and_sem

__all__ = [
    "CLOSED",
    "DYSON",
    "GAS",
    "LANGEVIN",
    "OPTIONS",
    "RUNGS",
    "SGD",
    "STEPS",
    "Ladder",
    "Step",
    "System",
    "check",
    "closed_forms",
    "compare",
    "dyson_levels",
    "gas_levels",
    "ladder",
    "ladders",
    "linear_system",
    "mean_and_sem",
    "overview",
    "rbm_system",
    "start_levels",
    "summarise",
    "trained",
    "verdict",
]

lazy.attach(__name__)
