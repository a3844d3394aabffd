"""What models share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dysonjax.models import base
from dysonjax.models.base import eigh


@pytest.mark.parametrize(("platform", "call", "batch"), [("cuda", "cusolver", "2"), ("cpu", "lapack", "0")])
def test_eigenvectors_of_many_networks_are_found_together_on_a_gpu_and_one_by_one_on_a_cpu(
    platform, call, batch
):
    many = jax.jit(jax.vmap(jax.vmap(eigh))).trace(jax.ShapeDtypeStruct((3, 4, 5, 5), "float32"))
    text = many.lower(lowering_platforms=(platform,)).as_text()
    assert text.count(f"@{call}") == 1 and f'num_batch_dims = "{batch}"' in text
    assert text.count("stablehlo.while") == (2 if platform == "cpu" else 0)


def test_eigenvectors_of_a_matrix_that_is_not_finite_are_nan():
    matrices = jax.random.normal(jax.random.key(0), (2, 3, 4, 4))
    matrices = (matrices + matrices.mT).at[1, 2, 0, 3].set(jnp.inf)
    for values, vectors in (jax.vmap(jax.vmap(eigh))(matrices), base._eigh(matrices)):  # a CPU's and a GPU's
        bad = np.isnan(values).all(-1)
        assert bad.sum() == 1 and bad[1, 2] and np.isnan(vectors[1, 2]).all()
        again = np.einsum("...ij,...j,...kj->...ik", vectors, values, vectors)
        np.testing.assert_allclose(again[~bad], matrices[~bad], atol=1e-5)
