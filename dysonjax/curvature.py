"""The old name of `dysonjax.advice.curvature`, which goes on working."""

import importlib
import sys

# Not by `from`, which would find the function of this name.
sys.modules[__name__] = importlib.import_module("dysonjax.advice.curvature")
