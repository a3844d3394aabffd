"""Weights as people have them: files and folders read tensor by tensor, and what each tensor is.

`open_checkpoint` lists the tensors of a file without reading or executing anything; `plan` says which matrix
each of them is, by the conventions of its framework, and accounts for every tensor that is none.
"""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.weights.open import FORMATS, open_checkpoint
    from dysonjax.weights.plan import Account, Matrix, Plan, as_matrix, plan
    from dysonjax.weights.tensor import Checkpoint, Tensor

__all__ = [
    "FORMATS",
    "Account",
    "Checkpoint",
    "Matrix",
    "Plan",
    "Tensor",
    "as_matrix",
    "open_checkpoint",
    "plan",
]

lazy.attach(__name__)
