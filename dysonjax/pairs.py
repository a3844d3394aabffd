"""The old name of `dysonjax.analysis.pairs`, which goes on working."""

import sys

from dysonjax.analysis import pairs

sys.modules[__name__] = pairs
