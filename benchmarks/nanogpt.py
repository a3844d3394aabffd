"""Throughput of the nano-GPT as a table; the same as `dysonjax bench nanogpt`."""

import sys

from dysonjax.cli import main

sys.exit(main(["bench", "nanogpt", *sys.argv[1:]]))
