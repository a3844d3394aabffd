"""All layers of a network: each analysed as a matrix, compared with its start, and gathered in one table."""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.layers.table import spectrum
    from dysonjax.layers.units import Unit, Units, units_of

__all__ = ["Unit", "Units", "spectrum", "units_of"]

lazy.attach(__name__)
