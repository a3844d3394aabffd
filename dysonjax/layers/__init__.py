"""All layers of a network: each analysed as a matrix, compared with its start, and gathered in one table."""

from dysonjax.layers.table import spectrum
from dysonjax.layers.units import Unit, Units, units_of

__all__ = ["Unit", "Units", "spectrum", "units_of"]
