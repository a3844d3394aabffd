"""One recipe for every published figure: run the simulation, analyse it, draw it beside its theory."""

import difflib

from dysonjax.checks import InputError
from dysonjax.published import (
    digits,
    initialisation,
    linear,
    linear_spacings,
    nanogpt,
    nanogpt_spikes,
    optimizers,
    phase,
    phase_couplings,
    phase_cuts,
    phase_dynamics,
    phase_features,
    phase_maps,
    rbm,
    rbm_pairs,
    rbm_spacings,
    record,
    released,
    spikes,
    spikes_blocks,
    width_depth,
)
from dysonjax.published.recipe import SCALES, Check, Recipe, Reproduction

__all__ = ["RECIPES", "SCALES", "Check", "Recipe", "Reproduction", "get", "record", "released"]

RECIPES: tuple[Recipe, ...] = (
    rbm.REPULSION,
    rbm.CENTRES,
    rbm.SPACING_SCALING,
    rbm.EVOLUTION,
    rbm_pairs.SEMICIRCLE,
    rbm_spacings.SURMISE_COLLAPSE,
    rbm_pairs.BINDER_CUMULANT,
    rbm_spacings.SIGMA_CONSISTENCY,
    linear.RELAXATION_RECIPE,
    linear.SEMICIRCLE_RECIPE,
    linear_spacings.SPACINGS,
    initialisation.INITIALISATION,
    width_depth.WIDTH_DEPTH,
    phase.PHASE_DIAGRAM,
    phase_maps.FRACTION,
    phase_maps.GROWTH,
    phase_cuts.CUTS,
    phase_features.FEATURES,
    phase.FIELD_ALIGNMENT,
    phase.FEATURE_CORRELATION,
    phase_dynamics.SINGULAR_VALUES,
    phase_dynamics.TWO_TIMES,
    phase_couplings.COUPLINGS,
    nanogpt.SPACINGS,
    nanogpt.DENSITY,
    nanogpt.FITS,
    nanogpt.FIRST_HEAD,
    nanogpt_spikes.GPT_SPIKES,
    spikes.SPIKES,
    spikes.SPIKES_LAW,
    spikes_blocks.SPIKES_BLOCKS,
    optimizers.OPTIMIZERS,
    digits.DIGITS,
)


def get(name: str) -> Recipe:
    """The recipe of that name. Raises InputError, with the nearest names, if there is none.

    >>> get("rbm-repulsion").source
    '[A] Fig. 1 left; [C] eigenvalue repulsion'
    """
    recipes = {recipe.name: recipe for recipe in RECIPES}
    if name not in recipes:
        near = difflib.get_close_matches(name, recipes, n=3, cutoff=0.4) or sorted(
            other for other in recipes if set(other.split("-")) & set(name.split("-"))
        )
        hint = f"did you mean {' or '.join(near)}?" if near else "see dysonjax figure --list"
        raise InputError(f"there is no figure {name!r}; {hint}")
    return recipes[name]
