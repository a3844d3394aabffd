"""Exact draws of the β-ensembles as a table; the same as `dysonjax bench samplers`."""

import sys

from dysonjax.cli import main

sys.exit(main(["bench", "samplers", *sys.argv[1:]]))
