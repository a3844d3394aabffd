"""Numbers from eigenvalues: laws, exact samplers, statistics, fits and comparisons."""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.spectra.checkpoint import MatrixSpectrum, analyse_matrix
    from dysonjax.spectra.density import LevelDensity, binder_cumulant, level_density
    from dysonjax.spectra.distances import energy_distance, kolmogorov_smirnov, wasserstein
    from dysonjax.spectra.fit_marchenko_pastur import MarchenkoPasturFit, fit_marchenko_pastur
    from dysonjax.spectra.fit_spacings import BrodyFit, SurmiseFit, fit_brody, fit_wigner_surmise
    from dysonjax.spectra.fit_two_level import TwoModeFit, TwoSpeciesFit, fit_two_mode, fit_two_species
    from dysonjax.spectra.long_range import number_variance, rigidity
    from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
    from dysonjax.spectra.outliers import Outliers, SpikeEstimate, count_outliers, estimate_spikes
    from dysonjax.spectra.permutation import PermutationTest, permutation_test
    from dysonjax.spectra.power_law import PowerLawFit, fit_power_law
    from dysonjax.spectra.repulsion import SpacingTest, spacing_test
    from dysonjax.spectra.resampling import (
        ConfidenceInterval,
        Estimate,
        bootstrap,
        jackknife,
    )
    from dysonjax.spectra.samplers import (
        sample_beta_hermite,
        sample_beta_laguerre,
        sample_goe,
        sample_wishart,
    )
    from dysonjax.spectra.semicircle import GOEDensity, Semicircle
    from dysonjax.spectra.shrinkage import Denoised, denoise, shrink
    from dysonjax.spectra.spacings import MeanRatio, mean_spacing_ratio, spacing_ratio, spacings, unfold
    from dysonjax.spectra.spiked import Spiked, spiked
    from dysonjax.spectra.spiked_blocks import SpikedBlocks, spiked_blocks
    from dysonjax.spectra.surmise import PairSpacing, WignerSurmise
    from dysonjax.spectra.tail_parts import TailParts, tail_parts
    from dysonjax.spectra.tracy_widom import TracyWidom
    from dysonjax.spectra.two_level import TwoMode, TwoSpecies
    from dysonjax.spectra.wishart_density import WishartDensity
    from dysonjax.weights import as_matrix

__all__ = [
    "BrodyFit",
    "ConfidenceInterval",
    "Denoised",
    "Estimate",
    "GOEDensity",
    "LevelDensity",
    "MarchenkoPastur",
    "MarchenkoPasturFit",
    "MatrixSpectrum",
    "MeanRatio",
    "Outliers",
    "PairSpacing",
    "PermutationTest",
    "PowerLawFit",
    "Semicircle",
    "SpacingTest",
    "SpikeEstimate",
    "Spiked",
    "SpikedBlocks",
    "SurmiseFit",
    "TailParts",
    "TracyWidom",
    "TwoMode",
    "TwoModeFit",
    "TwoSpecies",
    "TwoSpeciesFit",
    "WignerSurmise",
    "WishartDensity",
    "analyse_matrix",
    "as_matrix",
    "binder_cumulant",
    "bootstrap",
    "count_outliers",
    "denoise",
    "energy_distance",
    "estimate_spikes",
    "fit_brody",
    "fit_marchenko_pastur",
    "fit_power_law",
    "fit_two_mode",
    "fit_two_species",
    "fit_wigner_surmise",
    "jackknife",
    "kolmogorov_smirnov",
    "level_density",
    "mean_spacing_ratio",
    "number_variance",
    "permutation_test",
    "rigidity",
    "sample_beta_hermite",
    "sample_beta_laguerre",
    "sample_goe",
    "sample_wishart",
    "shrink",
    "spacing_ratio",
    "spacing_test",
    "spacings",
    "spiked",
    "spiked_blocks",
    "tail_parts",
    "unfold",
    "wasserstein",
]

lazy.attach(__name__)
