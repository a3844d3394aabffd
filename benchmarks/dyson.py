"""Dyson Brownian motion to 1 % in the mean spacings as a table; the same as `dysonjax bench dyson`."""

import sys

from dysonjax.cli import main

sys.exit(main(["bench", "dyson", *sys.argv[1:]]))
