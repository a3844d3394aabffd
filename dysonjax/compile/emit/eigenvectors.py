"""Eigenvalues and vectors of symmetric matrices, by the solver of eigh.h."""

from typing import TYPE_CHECKING

from dysonjax.compile.emit.expressions import c_type
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import flat

if TYPE_CHECKING:
    from dysonjax.compile.emit.lanes import Writer


def write_eigh(writer: "Writer", root: Node) -> None:
    """Copy the matrix to where vectors and values are to be, and call the solver there."""
    (matrix,), name = root.inputs, writer.names[root]
    n = matrix.shape[0]

    def body(index):
        writer.line(f"{name}[{flat(index, matrix.shape)}] = {writer.value(matrix, index)};")

    writer.nest(matrix.shape, body)
    writer.line(f"{c_type(root)}_eigh({n}, {name});")
