"""Normal and gamma variables addressed by (draw, column), at a tenth of the cost of `jax.random.gamma`.

Each variable is a function of the key and of its own two indices, by running Threefry as a counter: how
the work is cut up changes nothing. Work is done in flat blocks of two fixed sizes, so that a whole session
compiles each kernel at most twice, whatever the shapes asked for. `jax.random.gamma` instead carries one
key per element through its rejection loop.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry

BLOCKS = (2**12, 2**16)
# Streams of one key: a number each, so that no two kinds of variable share their random bits.
NORMAL, PROPOSAL, ACCEPTANCE, BOOST = range(4)


def normals(key: jax.Array, draws: np.ndarray, columns: int) -> np.ndarray:
    """Standard normals, shape (len(draws), columns), float64; the entry (i, j) belongs to draws[i] and j."""
    draw, column = _addresses(draws, columns)
    return _blocks(lambda i, j: _normal(_words(key, NORMAL), i, j), draw, column).reshape(len(draws), columns)


def log_gammas(key: jax.Array, draws: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Logarithms of gamma variables of unit scale, shape (len(draws), len(shapes)), float64.

    shapes: positive. The logarithm, because for small shapes the variable itself underflows.
    Marsaglia & Tsang, ACM Trans. Math. Software 26 (2000) 363, with Γ(a) = Γ(a+1) U^{1/a} below a = 1.
    """
    draw, column = _addresses(draws, len(shapes))
    raised = np.where(shapes < 1, shapes + 1, shapes)
    found = np.empty(draw.size)
    pending, attempt = np.arange(draw.size), 0
    while pending.size:  # 95 % or more are accepted at the first attempt, so that few rounds are needed
        i, j = draw[pending], column[pending]
        found[pending] = _blocks(
            lambda i, j, a, n=attempt: _propose(
                _words(key, PROPOSAL, n), _words(key, ACCEPTANCE, n), i, j, a
            ),
            i,
            j,
            raised[j],
        )
        pending = pending[np.isnan(found[pending])]
        attempt += 1
    log_value = found.reshape(len(draws), len(shapes))
    small = np.flatnonzero(shapes < 1)
    if small.size and log_value.size:
        i, j = np.repeat(draws, small.size).astype(np.uint32), np.tile(small, len(draws)).astype(np.uint32)
        log_uniform = _blocks(lambda i, j: _log_uniform(_words(key, BOOST), i, j), i, j)
        log_value[:, small] += log_uniform.reshape(-1, small.size) / shapes[small]
    return log_value


def _addresses(draws: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    draw, column = np.asarray(draws, np.uint32), np.arange(columns, dtype=np.uint32)
    return np.repeat(draw, columns), np.tile(column, len(draw))


def _blocks(kernel, *arguments: np.ndarray) -> np.ndarray:
    """`kernel` of flat arrays, block by block, the last one padded with copies of its first entry."""
    size = arguments[0].size
    block = BLOCKS[size > BLOCKS[0]]
    pieces = []
    for start in range(0, size, block):
        piece = [a[start : start + block] for a in arguments]
        missing = block - piece[0].size
        if missing:
            piece = [np.concatenate([a, np.full(missing, a[0])]) for a in piece]
        pieces.append(np.asarray(kernel(*piece))[: block - missing])
    return np.concatenate(pieces) if pieces else np.empty(0)


@threefry.settled()
def _words(key: jax.Array, stream: int, attempt: int = 0) -> jax.Array:
    """Two 32-bit words that seed a Threefry counter, from a key of any implementation."""
    return _seed(key, np.uint32(stream), np.uint32(attempt))


@jax.jit
def _seed(key: jax.Array, stream: jax.Array, attempt: jax.Array) -> jax.Array:
    return jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, stream), attempt), (2,), jnp.uint32)


def _bits(words: jax.Array, draw: jax.Array, column: jax.Array) -> tuple[jax.Array, jax.Array]:
    return threefry.block(words, draw, column)


def _uniform(words: jax.Array, draw: jax.Array, column: jax.Array) -> jax.Array:
    """Uniform on (0, 1), both ends left out, on a grid of 2⁻⁵³."""
    high, low = _bits(words, draw, column)
    return (high.astype(jnp.float64) * 2.0**20 + (low >> 12).astype(jnp.float64) + 0.5) * 2.0**-52


@jax.jit
def _normal(words: jax.Array, draw: jax.Array, column: jax.Array) -> jax.Array:
    return jnp.sqrt(2.0) * jax.scipy.special.erfinv(2 * _uniform(words, draw, column) - 1)


@jax.jit
def _log_uniform(words: jax.Array, draw: jax.Array, column: jax.Array) -> jax.Array:
    return jnp.log(_uniform(words, draw, column))


@jax.jit
def _propose(
    proposal: jax.Array, acceptance: jax.Array, draw: jax.Array, column: jax.Array, shape: jax.Array
) -> jax.Array:
    """Logarithm of one proposal for a gamma variable of `shape` ≥ 1, NaN where it is rejected."""
    normal = _normal(proposal, draw, column)
    d = shape - 1 / 3
    root = 1 + normal / jnp.sqrt(9 * d)
    log_cube = 3 * jnp.log(jnp.maximum(root, 1e-300))
    log_uniform = _log_uniform(acceptance, draw, column)
    accept = (root > 0) & (log_uniform < 0.5 * normal**2 + d * (1 - root**3 + log_cube))
    return jnp.where(accept, jnp.log(d) + log_cube, jnp.nan)
