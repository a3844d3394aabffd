"""Where will training converge: predictions from pilot runs and from the curvature of the loss."""

from dysonjax.advice.curvature import curvature
from dysonjax.advice.pilots import Advice, advise, check, predict

__all__ = ["Advice", "advise", "check", "curvature", "predict"]
