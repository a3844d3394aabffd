"""RBM throughput as a table; the same as `dysonjax bench rbm`."""

import sys

from dysonjax.cli import main

sys.exit(main(["bench", "rbm", *sys.argv[1:]]))
