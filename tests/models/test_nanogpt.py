"""The nano-GPT against an independent NumPy implementation, and the law of its initial spectra."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_gpt import adamw, loss_and_gradient

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.ensemble.spectrum import squared_singular_values
from dysonjax.models import corpus as corpora
from dysonjax.models import nanogpt as gpt

TEXT = "".join(f"{a} {b}; " for a, b in itertools.product("abcdefgh", "ijklmnop")) * 8


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A transformer that trains in milliseconds: width 16, 2 layers of 2 heads, context 8."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return gpt.nanogpt(path, width=16, heads=2, layers=2, context=8)


def start(model, seed=0, sigma_w=1.0):
    return model.init(jax.random.key(seed), (), {"sigma_w": jnp.float32(sigma_w)}).params


def numpy_parameters(params, heads, convert=lambda leaf: np.asarray(leaf, np.float64)):
    """The flat dictionary of `numpy_gpt`."""
    result = {name: params[name] for name in ("embedding", "position")}
    for layer, head in itertools.product(range(len(params) - 4), range(heads)):
        block = params[f"layer{layer + 1}"]
        named = gpt.attention_matrices(params, heads)
        for kind in gpt.KINDS:
            result[f"{layer}.{kind}.{head}"] = named[f"layer{layer + 1}_head{head + 1}_{kind}"]
        for name, part in (("projection", block["attention"]), ("up", block), ("down", block)):
            result[f"{layer}.{name}"] = part[name]["kernel"]
            result[f"{layer}.{name}.bias"] = part[name]["bias"]
        for name, norm in (("norm1", "norm_attention"), ("norm2", "norm_mlp")):
            result |= {f"{layer}.{name}.{key}": leaf for key, leaf in block[norm].items()}
    result |= {"output": params["output"]["kernel"], "output.bias": params["output"]["bias"]}
    result |= {f"norm.{key}": leaf for key, leaf in params["norm_output"].items()}
    return {name: convert(leaf) for name, leaf in result.items()}


def test_loss_gradient_and_logits_equal_an_independent_implementation(small):
    params = jax.tree.map(lambda a: a + 0.1 * jnp.sin(jnp.arange(a.size)).reshape(a.shape), start(small))
    windows, _ = batch = small.batch(jax.random.key(1), (), 0, 5)
    update = small.update(params, (), batch, (), {})
    module = gpt.NanoGPT(len(small.config["vocabulary"]), 16, 2, 2, 8)
    loss, logits, gradient = loss_and_gradient(
        numpy_parameters(params, 2), np.asarray(windows)[:, :-1], np.asarray(windows)[:, 1:], 2, 2
    )
    np.testing.assert_allclose(module.apply({"params": params}, windows[:, :-1]), logits, atol=1e-5)
    assert float(update.loss) == pytest.approx(loss, abs=1e-5)
    ours = numpy_parameters(update.direction, 2)
    assert ours.keys() == gradient.keys()
    for name, value in gradient.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-5, err_msg=name)


def test_numpy_gradient_is_the_slope_of_its_loss(small):
    """The reference itself, by central differences along random directions; a wrong term fails by its size."""
    p = numpy_parameters(start(small), 2)
    windows = np.asarray(small.batch(jax.random.key(1), (), 0, 3)[0])
    rng = np.random.default_rng(0)
    _, _, gradient = loss_and_gradient(p, windows[:, :-1], windows[:, 1:], 2, 2)
    for name in p:
        way = rng.normal(size=p[name].shape)
        up, down = (
            loss_and_gradient(p | {name: p[name] + h * way}, windows[:, :-1], windows[:, 1:], 2, 2)[0]
            for h in (1e-6, -1e-6)
        )
        assert (up - down) / 2e-6 == pytest.approx(np.sum(gradient[name] * way), abs=1e-7, rel=1e-5), name
