"""The nano-GPT against an independent NumPy implementation, and the law of its initial spectra."""

import itertools

import jax
import numpy as np
import pytest
from numpy_gpt import adamw, loss_and_gradient

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.ensemble.spectrum import squared_singular_values
from dysonjax.models.nanogpt import KINDS, NanoGPT, attention_matrices, initial, nanogpt, parameters, write

TEXT = "".join(f"{a} {b}; " for a, b in itertools.product("abcdefgh", "ijklmnop")) * 8

ADAMW = dj.Optimizer("adamw", 0.3)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A transformer that trains in milliseconds: width 16, 2 layers of 2 heads, context 8."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return nanogpt(path, width=16, heads=2, layers=2, context=8)


@pytest.fixture(scope="module")
def params(small):
    """Parameters away from the symmetric start, where biases are zero and scales are one."""
    start = jax.jit(lambda key: small.init(key, (), {"sigma_w": 1.0}).params)(jax.random.key(0))
    return jax.tree.map(lambda a: a + 0.1 * np.sin(np.arange(a.size)).reshape(a.shape), start)


@pytest.fixture(scope="module")
def update(small):
    return jax.jit(lambda params, batch: small.update(params, (), batch, (), {}))


def numpy_parameters(params, heads, convert=lambda leaf: np.asarray(leaf, np.float64)):
    """The flat dictionary of `numpy_gpt`."""
    result = {name: params[name] for name in ("embedding", "position")}
    for layer, head in itertools.product(range(len(params) - 4), range(heads)):
        block = params[f"layer{layer + 1}"]
        named = attention_matrices(params, heads)
        for kind in KINDS:
            result[f"{layer}.{kind}.{head}"] = named[f"layer{layer + 1}_head{head + 1}_{kind}"]
        for name, part in (("projection", block["attention"]), ("up", block), ("down", block)):
            result[f"{layer}.{name}"] = part[name]["kernel"]
            result[f"{layer}.{name}.bias"] = part[name]["bias"]
        for name, norm in (("norm1", "norm_attention"), ("norm2", "norm_mlp")):
            result |= {f"{layer}.{name}.{key}": leaf for key, leaf in block[norm].items()}
    result |= {"output": params["output"]["kernel"], "output.bias": params["output"]["bias"]}
    result |= {f"norm.{key}": leaf for key, leaf in params["norm_output"].items()}
    return {name: convert(leaf) for name, leaf in result.items()}


def module_of(model):
    names = ("width", "heads", "layers", "context", "dropout")
    return NanoGPT(len(model.config["vocabulary"]), **{name: model.config[name] for name in names})


def windows_of(model, seed=1, size=5):
    return np.asarray(model.batch(jax.random.key(seed), (), 0, size)[0])


def test_logits_loss_and_gradient_equal_an_independent_implementation(small, params, update):
    batch = small.batch(jax.random.key(1), (), 0, 5)
    windows = np.asarray(batch[0])
    found = update(params, batch)
    loss, logits, gradient = loss_and_gradient(
        numpy_parameters(params, 2), windows[:, :-1], windows[:, 1:], 2, 2
    )
    ours = jax.jit(module_of(small).apply)({"params": params}, windows[:, :-1])
    np.testing.assert_allclose(ours, logits, atol=1e-5)
    assert float(found.loss) == pytest.approx(loss, abs=1e-5)
    direction = numpy_parameters(found.direction, 2)
    assert direction.keys() == gradient.keys()
    for name, value in gradient.items():
        np.testing.assert_allclose(direction[name], value, atol=1e-5, err_msg=name)


def test_numpy_gradient_is_the_slope_of_its_loss(small, params):
    """The reference itself, by central differences along random directions: catches any wrong term."""
    p = numpy_parameters(params, 2)
    windows = windows_of(small, size=3)
    rng = np.random.default_rng(0)
    _, _, gradient = loss_and_gradient(p, windows[:, :-1], windows[:, 1:], 2, 2)
    for name in p:
        way = rng.normal(size=p[name].shape)
        up, down = (
            loss_and_gradient(p | {name: p[name] + h * way}, windows[:, :-1], windows[:, 1:], 2, 2)[0]
            for h in (1e-6, -1e-6)
        )
        assert (up - down) / 2e-6 == pytest.approx(np.sum(gradient[name] * way), abs=1e-7, rel=1e-5), name


def test_two_adamw_steps_of_the_engine_equal_an_independent_implementation(small):
    """The whole path: keys, batches, gradient, AdamW, weights; without the decay it fails by 1e-4."""
    grid = dj.Grid(lr=0.02, batch_size=4, seeds=1)
    run = dj.train(small, grid, 2, [0, 1, 2], optimizer=ADAMW, keep_weights="all", devices=1)
    root = stream = jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 0)
    start = jax.jit(lambda key: small.init(key, (), {"sigma_w": 1.0}).params)(jax.random.fold_in(root, 1))
    stream = jax.random.fold_in(root, 2)
    batches = [np.asarray(small.batch(jax.random.fold_in(stream, i), (), i, 4)[0]) for i in range(2)]
    gradients = [lambda p, w=w: loss_and_gradient(p, w[:, :-1], w[:, 1:], 2, 2)[2] for w in batches]
    expected = adamw(numpy_parameters(start, 2), gradients, 0.02, decay=0.3)
    ours = numpy_parameters(run.example, 2)
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, atol=2e-5, err_msg=name)
    found = run.dataset["weights_layer2_head1_value"].isel(record=-1).values.squeeze()
    np.testing.assert_allclose(found, expected["1.value.0"], atol=2e-5)
    without = adamw(numpy_parameters(start, 2), gradients, 0.02, decay=0.0)
    assert max(np.abs(without[name] - ours[name]).max() for name in without) > 1e-3


def test_the_published_model_has_209729_parameters():
    assert parameters(NanoGPT(65)) == 209_729


@pytest.fixture(scope="module")
def published_start():
    """Initial weights of 64 networks of the published size."""
    module = NanoGPT(65)
    return jax.jit(jax.vmap(lambda key: initial(module, key)))(jax.random.split(jax.random.key(3), 64))


def attention_levels(params, scale=1.0):
    """(members, matrices * modes) of all 48 attention matrices."""
    named = jax.vmap(lambda p: attention_matrices(p, 4))(params)
    x = np.stack([squared_singular_values(scale * np.asarray(w)) for w in named.values()], axis=1)
    return x.reshape(len(x), -1)


@pytest.mark.slow
def test_initial_attention_spectra_are_marchenko_pastur(published_start):
    """σ² = 1/3 and A = 1 for r = 1/4, [A] Fig. 4 at iteration 0; 64 x 48 matrices of 16 levels."""
    fit = dj.spectra.fit_marchenko_pastur(
        attention_levels(published_start), 0.25, n_resamples=50, n_matrices=48
    )
    assert abs(fit.sigma2 - 1 / 3) < 0.005 and fit.sigma2_err < 0.001
    assert abs(fit.area - 1) < 0.01 and fit.area_err < 0.004
    wrong = dj.spectra.fit_marchenko_pastur(
        attention_levels(published_start, 1.02), 0.25, n_resamples=20, n_matrices=48
    )  # a bound of ±1.02/√n_in
    assert abs(wrong.sigma2 - 1 / 3) > 0.005


def test_initial_spacings_follow_the_surmise_of_matrices_of_that_shape(published_start):
    x = attention_levels(published_start).reshape(-1, 16)[:500]
    test = dj.spectra.spacing_test(x, 0.25, n_resamples=200)
    assert test.ratio_p > 0.01 and test.distance_p > 0.01
    shuffled = np.sort(np.random.default_rng(0).permuted(x, axis=0), axis=1)  # levels that do not repel
    assert dj.spectra.spacing_test(shuffled, 0.25, n_resamples=200).ratio_p < 0.01


def test_starting_widths_of_weights_biases_embeddings_and_norms(published_start):
    p = jax.tree.map(np.asarray, published_start)
    down = p["layer2"]["down"]
    for numbers in (
        down["kernel"],
        down["bias"],
    ):  # n_in = 256; standard error of the mean square 0.003, 0.011
        assert np.abs(numbers).max() <= 1 / 16
        assert np.mean(numbers**2) * 3 * 256 == pytest.approx(1, abs=0.06)
    for name in ("embedding", "position"):
        assert p[name].std() == pytest.approx(1, abs=0.02) and np.abs(p[name]).max() > 3.5
    assert (p["norm_output"]["scale"] == 1).all() and (p["norm_output"]["bias"] == 0).all()


def test_sigma_w_multiplies_weights_and_nothing_else(small):
    start = jax.jit(lambda sigma_w: small.init(jax.random.key(5), (), {"sigma_w": sigma_w}).params)
    one, two = (jax.tree.leaves_with_path(start(sigma_w)) for sigma_w in (1.0, 2.0))
    for (path, a), (_, b) in zip(one, two, strict=True):
        factor = 2 if path[-1].key == "kernel" else 1
        np.testing.assert_allclose(b, factor * a, rtol=1e-6)


def test_no_position_sees_a_later_character(small, params):
    apply = jax.jit(module_of(small).apply)
    windows = windows_of(small)[:, :-1]
    changed = windows.copy()
    changed[:, 5] = (changed[:, 5] + 1) % len(small.config["vocabulary"])
    before, after = (np.asarray(apply({"params": params}, w)) for w in (windows, changed))
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (np.abs(before[:, 5:] - after[:, 5:]).max(axis=(0, 2)) > 1e-6).all()


def test_batches_depend_on_key_alone_and_are_pieces_of_the_training_text(small):
    windows = windows_of(small, size=64)
    np.testing.assert_array_equal(windows, windows_of(small, size=64))
    assert (windows != windows_of(small, seed=2, size=64)).any()
    text = TEXT[: len(TEXT) - len(TEXT) // 10]
    for window in windows:
        assert "".join(small.config["vocabulary"][t] for t in window) in text


@pytest.mark.slow
def test_dropout_is_on_in_training_only(tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    model = nanogpt(tmp_path / "t.txt", width=8, heads=2, layers=1, context=8, dropout=0.5)
    params = jax.jit(lambda key: model.init(key, (), {"sigma_w": 1.0}).params)(jax.random.key(0))
    windows, _ = model.batch(jax.random.key(0), (), 0, 4)
    update = jax.jit(lambda key: model.update(params, (), (windows, key), (), {}).loss)
    losses = [float(update(jax.random.key(k))) for k in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    plain = nanogpt(tmp_path / "t.txt", width=8, heads=2, layers=1, context=8)
    a, b = (jax.jit(lambda p, m=m: m.observe(p, p, (), None, {}))(params)["val_loss"] for m in (model, plain))
    assert float(a) == float(b)


@pytest.mark.slow
def test_a_network_whose_loss_is_not_finite_is_frozen_and_the_others_go_on(small):
    grid = dj.Grid(lr=[1e-3, 1e30], batch_size=4, seeds=2)
    run = dj.train(small, grid, 6, [0, 6], optimizer=ADAMW, devices=1)  # compiled for a test above
    diverged = run.dataset["diverged_at"].values.squeeze()
    assert (diverged[0] == -1).all() and (diverged[1] > 0).all()
    losses = run.dataset["val_loss"].isel(record=-1, lr=0)
    assert np.isfinite(losses).all() and run.example is not None


def test_text_is_written_with_the_characters_of_the_corpus(small, params):
    text = write(small.config, params, 20, jax.random.key(0))
    assert len(text) == 20 and set(text) <= set(small.config["vocabulary"])
    certain = jax.tree.map(lambda a: a, params) | {
        "output": {"kernel": 0 * params["output"]["kernel"], "bias": 100.0 * (np.arange(len(set(TEXT))) == 3)}
    }
    assert set(write(small.config, certain, 12, jax.random.key(0))) == {small.config["vocabulary"][3]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"heads": 3}, "multiple of heads"),
        ({"context": 4000}, "too few for windows"),
        ({"dropout": 1.0}, "dropout must lie"),
        ({"matrices": "none"}, "one of attention, all"),
        ({"layers": 0}, "layers must be"),
    ],
)
def test_bad_options_are_refused_with_one_sentence(tmp_path, options, sentence):
    (tmp_path / "t.txt").write_text(TEXT)
    with pytest.raises(InputError, match=sentence):
        nanogpt(tmp_path / "t.txt", **{"width": 16, "heads": 2} | options)


def test_all_matrices_are_recorded_on_request(tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    model = nanogpt(tmp_path / "t.txt", width=8, heads=2, layers=1, context=8, matrices="all")
    shapes = jax.eval_shape(
        lambda key: model.matrices(model.init(key, (), {"sigma_w": 1.0}).params), jax.random.key(0)
    )
    assert {name: leaf.shape for name, leaf in shapes.items() if "head" not in name} == {
        "layer1_projection": (8, 8),
        "layer1_up": (8, 32),
        "layer1_down": (32, 8),
        "output": (8, len(set(TEXT))),
    }
    assert len(shapes) == 6 + 4 and shapes["layer1_head2_query"].shape == (8, 4)
