"""The training step of one large network as C, for a core that trains one network after the other.

Sixteen networks of ten thousand weights would not fit the cache together, and the arrays of one are long
enough to fill vectors. Products go to one kernel that reads its factors in any order; everything else becomes
loops over whole arrays, as few as the graph allows, in memory that is used again as soon as its contents are
no longer needed. XLA's products for a CPU are as good; what lies between them takes as long again there, most
of all reductions, which it does not put into vectors.
"""

from dysonjax.compile.whole.kernel import Kernel, write_step

__all__ = ["Kernel", "write_step"]
