"""What one explores of a run: grid, spectra, observables and phases, as data inside a page."""

from dysonjax.report.explore.embed import embed
from dysonjax.report.explore.levels_file import of_levels
from dysonjax.report.explore.scene import Scene, of_dataset

__all__ = ["Scene", "embed", "of_dataset", "of_levels"]
