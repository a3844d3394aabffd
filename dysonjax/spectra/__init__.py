"""Numbers from eigenvalues: laws, exact samplers, statistics."""

from dysonjax.spectra.density import LevelDensity, binder_cumulant, level_density
from dysonjax.spectra.long_range import number_variance, rigidity
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
from dysonjax.spectra.samplers import sample_beta_hermite, sample_beta_laguerre, sample_goe, sample_wishart
from dysonjax.spectra.semicircle import GOEDensity, Semicircle
from dysonjax.spectra.spacings import MeanRatio, mean_spacing_ratio, spacing_ratio, spacings, unfold
from dysonjax.spectra.surmise import PairSpacing, WignerSurmise
from dysonjax.spectra.tracy_widom import TracyWidom
from dysonjax.spectra.two_level import TwoMode, TwoSpecies

__all__ = [
    "GOEDensity",
    "LevelDensity",
    "MarchenkoPastur",
    "MeanRatio",
    "PairSpacing",
    "Semicircle",
    "TracyWidom",
    "TwoMode",
    "TwoSpecies",
    "WignerSurmise",
    "binder_cumulant",
    "level_density",
    "mean_spacing_ratio",
    "number_variance",
    "rigidity",
    "sample_beta_hermite",
    "sample_beta_laguerre",
    "sample_goe",
    "sample_wishart",
    "spacing_ratio",
    "spacings",
    "unfold",
]
