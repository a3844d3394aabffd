"""Throughput of the linear network as a table; the same as `dysonjax bench linear`."""

import sys

from dysonjax.cli import main

sys.exit(main(["bench", "linear", *sys.argv[1:]]))
