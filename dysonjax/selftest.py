"""The old name of `dysonjax.cli.selftest`, which goes on working."""

import sys

from dysonjax.cli import selftest

sys.modules[__name__] = selftest
