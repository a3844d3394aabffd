"""Numbers from eigenvalues: laws, exact samplers, statistics, fits and comparisons."""

from dysonjax.spectra.checkpoint import MatrixSpectrum, analyse_matrix, as_matrix
from dysonjax.spectra.distances import energy_distance, kolmogorov_smirnov, wasserstein
from dysonjax.spectra.fit_marchenko_pastur import MarchenkoPasturFit, fit_marchenko_pastur
from dysonjax.spectra.fit_spacings import BrodyFit, SurmiseFit, fit_brody, fit_wigner_surmise
from dysonjax.spectra.fit_two_level import TwoModeFit, TwoSpeciesFit, fit_two_mode, fit_two_species
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
from dysonjax.spectra.power_law import PowerLawFit, fit_power_law
from dysonjax.spectra.repulsion import SpacingTest, spacing_test
from dysonjax.spectra.resampling import Estimate, PermutationTest, bootstrap, jackknife, permutation_test
from dysonjax.spectra.surmise import PairSpacing, WignerSurmise
from dysonjax.spectra.two_level import TwoMode, TwoSpecies

__all__ = [
    "BrodyFit",
    "Estimate",
    "MarchenkoPastur",
    "MarchenkoPasturFit",
    "MatrixSpectrum",
    "PairSpacing",
    "PermutationTest",
    "PowerLawFit",
    "SpacingTest",
    "SurmiseFit",
    "TwoMode",
    "TwoModeFit",
    "TwoSpecies",
    "TwoSpeciesFit",
    "WignerSurmise",
    "analyse_matrix",
    "as_matrix",
    "bootstrap",
    "energy_distance",
    "fit_brody",
    "fit_marchenko_pastur",
    "fit_power_law",
    "fit_two_mode",
    "fit_two_species",
    "fit_wigner_surmise",
    "jackknife",
    "kolmogorov_smirnov",
    "permutation_test",
    "spacing_test",
    "wasserstein",
]
