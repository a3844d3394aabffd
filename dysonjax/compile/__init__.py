"""The training step of small networks as C, sixteen networks in the lanes of a vector register.

XLA compiles a step for a CPU into dozens of kernels that exchange arrays through memory; between them a tiny
network's step is mostly traffic and scalar loops (docs/performance.md). This compiler takes the same jaxpr,
writes each array as one vector of networks an element, fuses what can be fused into one loop, and lets the
system's C compiler do the rest. It knows nothing of models: whatever consists of the operations listed in
`operations` is compiled, everything else is left to XLA, and so is everything on an accelerator.

A network's numbers do not depend on its lane, its neighbours or the number of cores, to the last bit.
"""

from dysonjax.compile.graph import NETWORK, WORLD, Unsupported
from dysonjax.compile.kernel import Input, Kernel, write_step
from dysonjax.compile.memory import LANES, WARP, aligned, empty_aligned, in_memory
from dysonjax.compile.toolchain import CompilerError, compiler_path, compiler_version

__all__ = [
    "LANES",
    "NETWORK",
    "WARP",
    "WORLD",
    "CompilerError",
    "Input",
    "Kernel",
    "Unsupported",
    "aligned",
    "compiler_path",
    "compiler_version",
    "empty_aligned",
    "in_memory",
    "write_step",
]
