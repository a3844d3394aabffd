"""Numbers from eigenvalues: laws, exact samplers, statistics."""

from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
from dysonjax.spectra.surmise import PairSpacing, WignerSurmise
from dysonjax.spectra.two_level import TwoMode, TwoSpecies

__all__ = [
    "MarchenkoPastur",
    "PairSpacing",
    "TwoMode",
    "TwoSpecies",
    "WignerSurmise",
]
