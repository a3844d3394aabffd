"""The old name of `dysonjax.analysis.phase`, which goes on working."""

import sys

from dysonjax.analysis import phase

sys.modules[__name__] = phase
