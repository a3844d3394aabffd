"""`python -m dysonjax`, for places where the console script is not on the path."""

import sys

from dysonjax.cli import main

sys.exit(main())
