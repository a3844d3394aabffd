"""A small character-level transformer (nano-GPT), whose attention matrices are watched while it learns.

Tokens of a window plus their positions pass through `layers` blocks; each block adds to the stream what
its heads gather from earlier characters, then what an MLP makes of every position by itself. LayerNorm
stands before each of the two. The default is the 209 729-parameter model of [A] 3.2: 4 blocks of 4 heads,
width 64, head size 16, context 32, hidden width 256, untied output, no dropout. Linear weights and biases
start uniform in ±1/√n_in, embeddings from N(0, 1); K, Q, V have no bias. Weights are stored (n_in, n_out).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import checks, threefry
from dysonjax.models import corpus as corpora
from dysonjax.models.base import Model, Start, Update, split

KINDS = ("key", "query", "value")
EPSILON = 1e-5  # of LayerNorm
WINDOWS = 256  # windows of text on which the losses are evaluated


@jax.custom_jvp
def softmax(x: jax.Array) -> jax.Array:
    """exp(x), normalised along the last axis; its gradient needs nothing but the result."""
    unnormalised = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return unnormalised / jnp.sum(unnormalised, axis=-1, keepdims=True)


@softmax.defjvp
def _softmax_jvp(primals, tangents):
    result = softmax(*primals)
    (tangent,) = tangents
    return result, result * (tangent - jnp.sum(result * tangent, axis=-1, keepdims=True))


class Attention(nn.Module):
    """Heads that look back: each position averages the values of those before it and of itself."""

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x, train: bool):
        batch, context, width = x.shape
        size = width // self.heads
        # All matrices in one product, columns (kind, head, component): twelve of 64×16 are as fast as one.
        kqv = nn.Dense(3 * width, use_bias=False, name="key_query_value")(x)
        kqv = kqv.reshape(batch, context, 3 * self.heads, size)
        key, query, value = jnp.split(kqv, 3, axis=2)
        score = jnp.einsum("bqhi,bkhi->bhqk", query, key) * size**-0.5
        # Added, so that neither the mask nor the scores without it have to be kept for the gradient.
        future = np.triu(np.full((context, context), -np.inf, x.dtype), 1)
        weight = softmax(score + future)
        weight = nn.Dropout(self.dropout, deterministic=not train)(weight)
        mixed = jnp.einsum("bhqk,bkhi->bqhi", weight, value).reshape(batch, context, width)
        out = nn.Dense(width, name="projection")(mixed)
        return nn.Dropout(self.dropout, deterministic=not train)(out)


class Block(nn.Module):
    """Attention, then an MLP of four times the width, each added to the stream."""

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x, train: bool):
        width = x.shape[-1]
        x = x + Attention(self.heads, self.dropout, name="attention")(_norm("norm_attention")(x), train)
        hidden = nn.Dense(4 * width, name="up")(_norm("norm_mlp")(x))
        out = nn.Dense(width, name="down")(nn.relu(hidden))
        return x + nn.Dropout(self.dropout, deterministic=not train)(out)


class NanoGPT(nn.Module):
    """Logits of the next character, (batch, context, vocabulary), for tokens (batch, context)."""

    vocabulary: int
    width: int = 64
    heads: int = 4
    layers: int = 4
    context: int = 32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens, train: bool = False):
        zeros = nn.initializers.zeros  # what the weights really start from stands in `initial`
        embedding = self.param("embedding", zeros, (self.vocabulary, self.width))
        position = self.param("position", zeros, (self.context, self.width))
        # As a product, since the gradient of an indexing scatters row by row, slowly on every platform.
        x = jax.nn.one_hot(tokens, self.vocabulary, dtype=embedding.dtype) @ embedding
        x = x + position[: tokens.shape[1]]
        for layer in range(self.layers):
            x = Block(self.heads, self.dropout, name=f"layer{layer + 1}")(x, train)
        return nn.Dense(self.vocabulary, name="output")(_norm("norm_output")(x))


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(EPSILON, name=name)


def initial(module: NanoGPT, key: jax.Array, sigma_w: float | jax.Array = 1.0) -> dict:
    """Parameters to start from; sigma_w multiplies the weights of all linear layers.

    They are cut from one row of random numbers: drawn layer by layer, the program took four times as long
    to compile.
    """
    tokens = jnp.zeros((1, module.context), jnp.int32)
    shapes = jax.eval_shape(module.init, key, tokens)["params"]
    leaves, structure = jax.tree.flatten(shapes)
    ends = np.cumsum([leaf.size for leaf in leaves])
    # Open at -1, where the inverse error function of the embeddings would be infinite.
    lowest = np.nextafter(np.float32(-1), np.float32(0))
    row = jax.lax.optimization_barrier(jax.random.uniform(key, (int(ends[-1]),), minval=lowest, maxval=1.0))
    cuts = [cut.reshape(leaf.shape) for cut, leaf in zip(jnp.split(row, ends[:-1]), leaves, strict=True)]
    return _start(jax.tree.unflatten(structure, cuts), sigma_w)


def _start(uniform: Mapping, sigma_w) -> dict:
    """The start of one layer, or of all inside it, from numbers uniform in (-1, 1)."""
    if "scale" in uniform:  # LayerNorm
        return {"scale": jnp.ones_like(uniform["scale"]), "bias": jnp.zeros_like(uniform["bias"])}
    if "kernel" in uniform:
        bound = uniform["kernel"].shape[0] ** -0.5
        width = {"kernel": bound * sigma_w, "bias": bound}
        return {name: width[name] * numbers for name, numbers in uniform.items()}
    return {
        name: _start(part, sigma_w) if isinstance(part, Mapping) else 2**0.5 * jax.lax.erf_inv(part)
        for name, part in uniform.items()
    }


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean negative log-probability of the targets, nats a character; logits have one axis more."""
    hit = jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - jnp.sum(logits * hit, axis=-1))


def nanogpt(
    text: str | Path | corpora.Corpus = corpora.PYTHON_TOPICS,
    *,
    width: int = 64,
    heads: int = 4,
    layers: int = 4,
    context: int = 32,
    vocabulary: int | None = None,
    dropout: float = 0.0,
    matrices: str = "attention",
    line_ends: str = "plain",
) -> Model:
    """Small character-level transformer, whose attention matrices are watched while it learns.

    Parameters
    ----------
    text : str, path or Corpus, default "python-topics"
        `python-topics` (comes with Python), `tinyshakespeare` (is downloaded once), a UTF-8 file, or a loaded
        corpus.
    width : int, default 64
        Width of the stream, a multiple of `heads`.
    heads : int, default 4
        Heads of each block.
    layers : int, default 4
        Blocks.
    context : int, default 32
        Characters that the network sees.
    vocabulary : int, optional
        At most so many different characters; the rarest beyond it all become one replacement character. By
        default all of the text. A loaded corpus keeps its own.
    dropout : float, default 0.0
        Probability in 0 ≤ dropout < 1, drawn anew in every step.
    matrices : {"attention", "all"}, default "attention"
        Which spectra are recorded. "attention": K, Q, V of every head, under names such as
        `layer1_head1_key`. "all": also the projections, the MLPs and the output.
    line_ends : {"plain", "kept"}, default "plain"
        "plain" reads those of Windows as plain ones, with a warning; "kept" makes the carriage return a
        character.

    Returns
    -------
    Model
        sigma_w of the grid multiplies the initial weights of all linear layers; at 1 they are those of the
        Notes. All members of a seed see the same windows of text.

    Raises
    ------
    InputError
        If heads do not divide the width, if the text is too short for the context, if a text cannot be read,
        or if a number is out of range.

    Notes
    -----
    The defaults are the model of [A] 3.2, with 209 729 parameters for 65 different characters. LayerNorm
    stands before attention and before the MLP, whose hidden width is 4 `width`. The output is untied; K, Q, V
    have no bias. Linear weights and biases start uniform in ±1/√n_in, embeddings from N(0, 1). Weights are
    stored (n_in, n_out).

    Examples
    --------
    A small one, on a text of one's own:

    >>> from pathlib import Path
    >>> written = Path("spell.txt").write_text("abracadabra " * 100)
    >>> model = dj.models.nanogpt("spell.txt", width=8, heads=2, layers=1, context=4)
    >>> model.config["vocabulary"], model.config["parameters"]
    (' abcdr', 998)
    """
    sizes = {"width": width, "heads": heads, "layers": layers, "context": context}
    sizes = {name: checks.positive_int(name, value) for name, value in sizes.items()}
    width, heads, layers, context = sizes.values()
    count = 12 * width**2 * layers + width * context
    checks.memory(f"a transformer of {count} parameters", 12 * count, "take a smaller one")
    if width % heads:
        raise checks.InputError(f"width must be a multiple of heads, got width {width} and heads {heads}")
    if not 0 <= checks.finite("dropout", dropout) < 1:
        raise checks.InputError(f"dropout must lie in 0 <= dropout < 1, got {dropout}")
    checks.one_of("matrices", matrices, ["attention", "all"])
    corpus = text if isinstance(text, corpora.Corpus) else corpora.load(text, vocabulary, line_ends=line_ends)
    for part in ("train", "validation"):
        length = len(getattr(corpus, part))
        if length <= context:
            raise checks.InputError(
                f"the {part} part of the text {corpus.name} has {length} characters, too few for windows of "
                f"context + 1 = {context + 1}; give a longer text or a smaller context"
            )
    module = NanoGPT(len(corpus.vocabulary), width, heads, layers, context, float(dropout))
    validation, train = (_windows(part, context) for part in (corpus.validation, corpus.train))

    def world(key, batch_size):
        return ()  # what members share is the text, and that is the same for all seeds

    def init(key, world, point):
        return Start(initial(module, key, point["sigma_w"]))

    def batch(key, world, step, batch_size):
        key_text, key_dropout = split(key)
        first = jax.random.randint(key_text, (batch_size,), 0, len(corpus.train) - context)
        window = jax.vmap(lambda at: jax.lax.dynamic_slice(corpus.train, (at,), (context + 1,)))(first)
        return window.astype(jnp.int32), key_dropout

    def loss(params, windows, key=None):
        rngs = None if key is None else {"dropout": key}
        logits: Any = module.apply({"params": params}, windows[:, :-1], train=key is not None, rngs=rngs)
        return cross_entropy(logits, windows[:, 1:])

    def update(params, memory, samples, world, point):
        value, direction = jax.value_and_grad(loss)(params, *samples)
        return Update(direction, memory, value, jnp.isfinite(value) & jnp.isfinite(_square(direction)))

    def observe(params, initial, world, key, point):
        value, gradient = _mean(lambda part: jax.value_and_grad(loss)(params, part), train)
        return {
            "train_loss": value,
            "grad_norm": jnp.sqrt(_square(gradient)),
            "val_loss": _mean(lambda part: loss(params, part), validation),
        }

    def chosen(params):
        found = attention_matrices(params, heads)
        return found | (other_matrices(params) if matrices == "all" else {})

    return Model(
        name="nanogpt",
        world=world,
        init=init,
        batch=batch,
        update=update,
        matrices=chosen,
        observe=observe,
        observables=OBSERVABLES,
        config={
            **sizes,
            "dropout": float(dropout),
            "matrices": matrices,
            "text": corpus.name,
            "text_sha256": corpus.sha256,
            "vocabulary": corpus.vocabulary,
            "parameters": parameters(module),
        },
    )


def validation_loss(config: Mapping, text: str | Path | corpora.Corpus = corpora.PYTHON_TOPICS):
    """The function params -> `val_loss` of a model with this configuration, trained on this text."""
    corpus = text if isinstance(text, corpora.Corpus) else corpora.load(text)
    names = ("width", "heads", "layers", "context")
    module = NanoGPT(len(config["vocabulary"]), **{name: config[name] for name in names})
    windows = _windows(corpus.validation, config["context"])

    def loss(params):
        def of_part(part):
            logits: Any = module.apply({"params": params}, part[:, :-1])
            return cross_entropy(logits, part[:, 1:])

        return _mean(of_part, windows)

    return loss


OBSERVABLES = {
    "train_loss": f"cross-entropy on {WINDOWS} windows of the training text, nats a character",
    "grad_norm": "Euclidean norm of the gradient of train_loss",
    "val_loss": f"cross-entropy on {WINDOWS} windows of the validation text, nats a character",
}


@threefry.settled()
def write(config: Mapping, params: Mapping, length: int, key: jax.Array) -> str:
    """Text of `length` characters, drawn one by one from what a trained network predicts after a line break.

    config: of the model that was trained. params: of one network. After `context` characters the oldest is
    forgotten for each new one.
    """
    names = ("width", "heads", "layers", "context")
    characters = config["vocabulary"]
    module = NanoGPT(len(characters), **{name: config[name] for name in names})
    blank = max(characters.find("\n"), 0)

    def step(state, key):
        window, known = state
        logits: Any = module.apply({"params": params}, window[None])
        token = jax.random.categorical(key, logits[0, known - 1])
        full = known == module.context
        window = jnp.where(full, jnp.roll(window, -1), window)
        window = window.at[jnp.where(full, known - 1, known)].set(token)
        return (window, jnp.where(full, known, known + 1)), token

    first = jnp.full(module.context, blank, jnp.int32), jnp.int32(1)
    _, tokens = jax.lax.scan(step, first, jax.random.split(key, length))
    return "".join(characters[int(token)] for token in tokens)


def attention_matrices(params: Mapping, heads: int) -> dict[str, jax.Array]:
    """K, Q and V of every head, (width, width/heads), by names such as `layer1_head1_key`."""
    result = {}
    for layer, block in _blocks(params):
        weight = block["attention"]["key_query_value"]["kernel"]
        split = weight.reshape(weight.shape[0], 3, heads, -1)
        for head in range(heads):
            for index, kind in enumerate(KINDS):
                result[f"{layer}_head{head + 1}_{kind}"] = split[:, index, head]
    return result


def other_matrices(params: Mapping) -> dict[str, jax.Array]:
    """Projections, MLPs and output layer, (n_in, n_out)."""
    result = {}
    for layer, block in _blocks(params):
        result[f"{layer}_projection"] = block["attention"]["projection"]["kernel"]
        result[f"{layer}_up"] = block["up"]["kernel"]
        result[f"{layer}_down"] = block["down"]["kernel"]
    return result | {"output": params["output"]["kernel"]}


def parameters(module: NanoGPT) -> int:
    """The number of trained numbers of one network."""
    shapes = jax.eval_shape(lambda: initial(module, jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def _blocks(params: Mapping) -> list[tuple[str, Mapping]]:
    names = [name for name in params if name.startswith("layer")]
    return [(name, params[name]) for name in sorted(names, key=lambda name: int(name[5:]))]


def _square(tree) -> jax.Array:
    return sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def _mean(function, windows: np.ndarray):
    """The mean of a function of windows, a few at a time: the activations of all would leave every cache."""
    count = next(n for n in range(16, 0, -1) if len(windows) % n == 0)
    parts = jnp.asarray(windows).reshape(-1, count, windows.shape[1])
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, parts[0]))
    total = jax.lax.fori_loop(
        0, len(parts), lambda i, total: jax.tree.map(jnp.add, total, function(parts[i])), zero
    )
    return jax.tree.map(lambda leaf: leaf / len(parts), total)


def _windows(tokens: np.ndarray, context: int) -> np.ndarray:
    """WINDOWS pieces of context + 1 tokens in equal distances, as far as the text has room for them."""
    room = len(tokens) - context
    first = np.unique(np.linspace(0, room - 1, WINDOWS).round().astype(int))
    return tokens[first[:, None] + np.arange(context + 1)].astype(np.int32)
