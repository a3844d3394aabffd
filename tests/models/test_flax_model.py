"""A wrapped flax module learns in the engine as it does in a loop written by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.ensemble.spectrum import squared_singular_values


class Net(nn.Module):
    """A convolution and two dense layers."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.tanh(nn.Conv(4, (3, 3), name="conv")(x)).mean(axis=(1, 2))
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.tanh(nn.Dense(6, name="hidden")(x)))
        return nn.Dense(1, name="out")(x)[..., 0]


def squared_error(outputs, batch):
    return 0.5 * jnp.mean((outputs - batch[1]) ** 2)


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(40, 5, 5, 2))
    return x, x[:, 2, 2, 0] * x[:, 1, 2, 0]


def test_engine_and_hand_written_loop_agree(data):
    module = Net()
    model = dj.models.wrap_flax(module, squared_error, data, test=data)
    run = dj.train(
        model, dj.Grid(lr=[0.1, 0.3], batch_size=8, seeds=1), 3, [0, 3], keep_weights="all", devices=1
    )
    root = jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 0)
    x, y = (jnp.asarray(a, jnp.float32) for a in data)
    slope = jax.grad(lambda p, i: squared_error(module.apply({"params": p}, x[i]), (None, y[i])))
    start = jax.jit(module.init)
    moved = jax.jit(
        lambda params, chosen, lr: jax.tree.map(lambda p, g: p - lr * g, params, slope(params, chosen))
    )
    for place, lr in enumerate((0.1, 0.3)):
        params = start(jax.random.fold_in(root, 1), x[:1])["params"]
        for step in range(3):
            key = jax.random.fold_in(jax.random.fold_in(root, 2), step)
            chosen = jax.random.randint(jax.random.split(key)[0], (8,), 0, 40)
            params = moved(params, chosen, lr)
        last = run.dataset.isel(batch_size=0, lr=place, sigma_w=0, seed=0, record=-1)
        for name in ("conv", "hidden", "out"):
            kernel = np.asarray(params[name]["kernel"])
            matrix = kernel.reshape(-1, kernel.shape[-1])
            np.testing.assert_allclose(last[f"weights_{name}"], matrix, atol=1e-6)
            levels = squared_singular_values(matrix[None])[0]
            np.testing.assert_allclose(last[f"eigenvalues_{name}"], levels, atol=1e-5)
        assert float(last["test_loss"]) == pytest.approx(float(last["train_loss"]))
    assert run.dataset.sizes["mode_conv"] == 4


def test_sigma_w_multiplies_kernels_alone(data):
    model = dj.models.wrap_flax(Net(), squared_error, data)
    start = jax.jit(lambda s: model.init(jax.random.key(0), (), {"sigma_w": s}).params)
    one, two = start(1.0), start(2.0)
    np.testing.assert_allclose(two["conv"]["kernel"], 2 * one["conv"]["kernel"])
    np.testing.assert_array_equal(two["conv"]["bias"], one["conv"]["bias"])


def test_a_filter_chooses_matrices_and_must_leave_one(data):
    model = dj.models.wrap_flax(Net(), squared_error, data, matrices=lambda name: name != "conv")
    assert model.config["matrices"] == ["hidden", "out"]
    with pytest.raises(InputError, match="the module's are: conv, hidden, out"):
        dj.models.wrap_flax(Net(), squared_error, data, matrices=lambda name: False)


def test_training_arguments_and_fresh_data(data):
    def draw(key, size):
        x = jax.random.normal(key, (size, 5, 5, 2))
        return x, x[:, 2, 2, 0]

    model = dj.models.wrap_flax(Net(0.5), squared_error, draw, training={"train": True})
    params = jax.jit(lambda key: model.init(key, (), {"sigma_w": jnp.float32(1)}).params)(jax.random.key(0))
    samples, key = model.batch(jax.random.key(1), (), 0, 8)
    update = jax.jit(lambda key: model.update(params, (), (samples, key), (), {}).loss)
    assert float(update(key)) != float(update(jax.random.key(7)))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ((np.zeros((3, 2)), np.zeros(4)), r"common, non-empty first axis, got \(3, 2\), \(4,\)"),
        ((np.zeros((0, 2)),), "non-empty"),
        (np.zeros((3, 2)), "must be a tuple of arrays"),
    ],
)
def test_bad_data_are_refused(bad, sentence):
    with pytest.raises(InputError, match=sentence):
        dj.models.wrap_flax(Net(), squared_error, bad)


def test_modules_with_other_state_are_refused(data):
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1)(nn.BatchNorm(use_running_average=False)(x))

    with pytest.raises(InputError, match="no other state, got batch_stats"):
        dj.models.wrap_flax(Normed(), squared_error, data)
    with pytest.raises(InputError, match=r"must be a flax.linen module"):
        dj.models.wrap_flax(lambda x: x, squared_error, data)


class _Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.MultiHeadDotProductAttention(num_heads=4, qkv_features=64, name="a")(x).mean(axis=1)


class _Stack(nn.Module):
    @nn.compact
    def __call__(self, x):
        def layer(module, carry, _):
            return nn.tanh(module(carry)), None

        scan = nn.scan(layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return scan(nn.Dense(6, name="block"), x, None)[0]


@pytest.mark.parametrize(
    "module, shape, expected",
    [
        (
            _Attention(),
            (5, 7, 32),
            dict.fromkeys(("a_query", "a_key", "a_value"), (32, 64)) | {"a_out": (64, 32)},
        ),
        (_Stack(), (5, 6), {f"block_{index}": (6, 6) for index in range(3)}),
    ],
)
def test_attention_and_stacks_are_recorded_as_the_matrices_that_they_are(module, shape, expected):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model = dj.models.wrap_flax(module, lambda out, batch: jnp.mean((out - 1) ** 2), (x, x))
    params = module.init(jax.random.key(0), x[:1])["params"]
    found = model.matrices(params)
    assert {name: matrix.shape for name, matrix in found.items()} == expected
    if "a_query" in found:
        kernel = np.asarray(params["a"]["query"]["kernel"])
        np.testing.assert_array_equal(found["a_query"], kernel.reshape(32, 64))
        # Variance 1/32: the 32 levels of WWᵀ have the mean 64/32; flattened to 128×16 it would be 4.
        assert (np.linalg.svd(found["a_query"], compute_uv=False) ** 2).mean() == pytest.approx(2, rel=0.15)
    else:
        np.testing.assert_array_equal(found["block_1"], params["block"]["kernel"][1])


class Classifier(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


def cross_entropy(outputs, batch):
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]).mean()


@pytest.mark.parametrize("label", [3, -4, 100])
def test_a_label_beyond_the_outputs_is_found_before_anything_is_trained(label):
    x, labels = np.ones((10, 4), np.float32), np.arange(10) % 3
    dj.models.wrap_flax(Classifier(), cross_entropy, (x, labels))
    labels[7] = label
    with pytest.raises(InputError, match=f"the loss of sample 7 of data, with the label {label}, is nan"):
        dj.models.wrap_flax(Classifier(), cross_entropy, (x, labels))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["data", "test"])
def test_data_that_are_not_finite_are_refused(bad, where):
    good = np.ones((10, 4), np.float32), np.arange(10) % 3
    wrong = good[0].copy(), good[1]
    wrong[0][3, 1] = bad
    arguments = {"data": good, "test": good} | {where: wrong}
    with pytest.raises(InputError, match=f"{where} must be finite, but 1 of its numbers"):
        dj.models.wrap_flax(Classifier(), cross_entropy, **arguments)


def test_a_label_between_the_smallest_and_the_largest_is_tried_too():
    """A loss may refuse any label."""

    def no_two(outputs, batch):
        return jnp.where(batch[1] == 2, jnp.nan, cross_entropy(outputs, batch)).mean()

    x, labels = np.ones((10, 4), np.float32), np.array([0, 1] * 4 + [2, 2])
    with pytest.raises(InputError, match="the loss of sample 8 of data, with the label 2, is nan"):
        dj.models.wrap_flax(Classifier(), no_two, (x, labels))
    labels[8:] = 1
    dj.models.wrap_flax(Classifier(), no_two, (x, labels))


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
def test_a_loss_that_is_no_number_from_the_start_is_told(backend):
    """What no check of the data can see, here fresh samples; other networks diverge later, silently."""

    def fresh(key, size):
        return jnp.full((size, 4), jnp.nan), jnp.zeros(size, jnp.int32)

    model = dj.models.wrap_flax(Classifier(), cross_entropy, fresh)
    said = []
    dj.train(model, dj.Grid(0.1, 4, seeds=3), 2, 1, backend=backend, say=said.append)
    assert [s for s in said if s.startswith("3 of 3 networks diverged in their first step")]
    assert "the loss of the weights that they started from was NaN, infinite" in said[-1]
    said.clear()
    late = dj.train(dj.models.linear(), dj.Grid(30.0, 4, seeds=3), 500, 1, backend=backend, say=said.append)
    assert late.summary["diverged"] == 3 and not said


@pytest.mark.parametrize("name", [None, "mine"])
def test_the_name_of_the_model_is_that_of_the_module_or_the_given_one(name):
    data = np.zeros((6, 4), np.float32), np.zeros(6, np.int32)
    model = dj.models.wrap_flax(Classifier(), cross_entropy, data, test=data, name=name)
    assert model.name == (name or "Classifier")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"loss": lambda outputs: outputs.mean()},
            r"loss fails; it gets \(outputs, batch\), labels in batch\[1\]",
        ),
        ({"loss": lambda o, labels: cross_entropy(o, (0, labels))}, r"labels in batch\[1\]: TypeError"),
        ({"loss": lambda o, batch: o[:, 0]}, r"one number, the mean over a batch, got \(2,\)"),
        ({"loss": lambda o, batch: None}, "one number, the mean over a batch, got None"),
        ({"module": Classifier}, r"such as Net\(\), got the class Classifier, not called"),
        ({"module": nn.Conv(2, (3, 3))}, r"module fails; it gets inputs of shape \(1, 4\)"),
    ],
)
def test_a_loss_or_a_module_that_does_not_fit_is_told_with_what_it_gets(changes, sentence):
    data = np.zeros((6, 4), np.float32), np.zeros(6, np.int32)
    arguments = {"module": Classifier(), "loss": cross_entropy, "data": data} | changes
    with pytest.raises(InputError, match=sentence) as caught:
        dj.models.wrap_flax(**arguments)
    assert "\n" not in str(caught.value)
