"""The training step of one network, compiled to C for many.

XLA compiles a step for a CPU into dozens of kernels that exchange arrays through memory; between them a tiny
network's step is mostly traffic and scalar loops (docs/performance.md). This compiler takes the same jaxpr
(`lower`), as a graph of array operations (`graph`, `operations`), decides what is computed together
(`schedule`) and writes it in one of three ways. The system's C compiler (`toolchain`) or, for the third,
NVRTC compiles it:

- `IN_LANES`: sixteen networks in the lanes of a vector register, each array one vector an element;
- `WHOLE`: one network after the other on a core. Sixteen networks of ten thousand weights would not fit the
  cache together, and the arrays of one are long enough to fill vectors;
- `warps`: a network is a few threads of a warp of an NVIDIA GPU, which have its weights in registers.

It knows nothing of models: whatever consists of the operations in `operations` and `rules` is compiled,
everything else is left to XLA, and so is everything on other accelerators. A network's numbers do not depend
on its lane, its neighbours or the number of cores, to the last bit; how many threads it has changes their
rounding.
"""

from dysonjax.compile.graph import NETWORK, WORLD, Unsupported
from dysonjax.compile.memory import LANES, WARP, aligned, empty_aligned, in_memory
from dysonjax.compile.step import IN_LANES, WHOLE, Input, Kernel, Source, Step, traced, write_step
from dysonjax.compile.toolchain import CompilerError, compiler_path, compiler_version

__all__ = [
    "IN_LANES",
    "LANES",
    "NETWORK",
    "WARP",
    "WHOLE",
    "WORLD",
    "CompilerError",
    "Input",
    "Kernel",
    "Source",
    "Step",
    "Unsupported",
    "aligned",
    "compiler_path",
    "compiler_version",
    "empty_aligned",
    "in_memory",
    "traced",
    "write_step",
]
