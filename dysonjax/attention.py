"""The old name of `dysonjax.analysis.attention`, which goes on working."""

import sys

from dysonjax.analysis import attention

sys.modules[__name__] = attention
