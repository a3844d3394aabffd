"""What a tensor is: singular values of planted layers come out whatever the framework's order of axes."""

import numpy as np
import pytest
import writers

from dysonjax import InputError
from dysonjax.spectra import as_matrix
from dysonjax.weights import open_checkpoint, plan

RNG = np.random.default_rng(0)


def planned(tmp_path, tensors, layout=(), split=()):
    np.savez(tmp_path / "f.npz", **tensors)
    return plan(open_checkpoint(tmp_path / "f.npz"), layout, split)


def levels(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


def assert_same_levels(matrix, expected):
    """Equal singular values of every member, and the right sides: `expected` has shape (members, in, out)."""
    read = matrix.read()
    assert read.shape == expected.shape == (matrix.members, matrix.inputs, matrix.outputs)
    np.testing.assert_allclose(levels(read), levels(expected), rtol=1e-10)


CHANNELS_LAST = [
    "conv2d/kernel:0",
    "conv2_d/w",
    "block/conv/weights",
    "conv1.kernel.value",
    "['params']['Conv_0']['kernel']",
    "Conv_0/kernel",
    "kernel",
    "backbone/stem/weights:0",
    "conv/kernel/.ATTRIBUTES/VARIABLE_VALUE",
    "a/b/c",
    "x",
]


@pytest.mark.parametrize("name", CHANNELS_LAST)
@pytest.mark.parametrize("shape", [(3, 3, 32, 64), (1, 7, 32, 32), (5, 5, 32, 20)])
def test_channels_last_whatever_the_name_ends_in(tmp_path, name, shape):
    w = RNG.normal(size=shape)
    (matrix,) = planned(tmp_path, {name: w}).matrices
    assert_same_levels(matrix, w.reshape(1, -1, shape[-1]))


@pytest.mark.parametrize("name", ["conv.weight", "features.0.weight", "x", "conv1_weight"])
@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (64, 3, 7, 7), (32, 32, 1, 7)])
def test_channels_first_whatever_the_name(tmp_path, name, shape):
    w = RNG.normal(size=shape)
    (matrix,) = planned(tmp_path, {name: w}).matrices
    assert_same_levels(matrix, w.reshape(1, shape[0], -1).swapaxes(1, 2))


def test_names_decide_where_sizes_do_not(tmp_path):
    w = RNG.normal(size=(3, 4, 5, 6))
    first, last = planned(tmp_path, {"a.weight": w, "b/kernel": w}).matrices
    assert_same_levels(first, w.reshape(1, 3, -1).swapaxes(1, 2))
    assert_same_levels(last, w.reshape(1, -1, 6))


@pytest.mark.parametrize("width", [1, 3, 11, 41])
def test_convolutions_in_one_dimension(tmp_path, width):
    """Widths of 41 are longer than the layer of 32 channels is wide, as in networks of genomics."""
    keras, torch = RNG.normal(size=(width, 32, 32)), RNG.normal(size=(32, 32, width))
    tensors = {
        "conv1d_1/kernel:0": keras,
        "conv1d_1/bias:0": np.zeros(32),
        "conv1d_2/kernel:0": keras,
        "encoder.conv.weight": torch,
        "encoder.conv.bias": np.zeros(32),
    }
    a, b, c = planned(tmp_path, tensors).matrices
    for matrix in (a, b):
        assert_same_levels(matrix, keras.reshape(1, -1, 32))
    assert_same_levels(c, torch.reshape(1, 32, -1).swapaxes(1, 2))


def test_the_bias_tells_where_the_outputs_are(tmp_path):
    w = RNG.normal(size=(8, 4, 3, 3))
    tensors = {
        "up.weight": w,  # a transposed convolution: inputs first
        "up.bias": np.zeros(4),
        "down.weight": w,
        "down.bias": np.zeros(8),
        "t/kernel": w.transpose(2, 3, 1, 0),  # Keras: kernel, outputs, inputs
        "t/bias": np.zeros(4),
    }
    up, down, t = planned(tmp_path, tensors).matrices
    assert_same_levels(up, w.transpose(0, 2, 3, 1).reshape(1, -1, 4))
    assert_same_levels(down, w.reshape(1, 8, -1).swapaxes(1, 2))
    assert_same_levels(t, w.transpose(0, 2, 3, 1).reshape(1, -1, 4))


def test_attention_kernels_of_flax(tmp_path):
    """Entries of variance 1/32: as 32×64 the width of the law is σ² = 2, as heads 32×16 it is 1 each."""
    w, out = RNG.normal(size=(32, 4, 16)) / 32**0.5, RNG.normal(size=(4, 16, 32))
    tensors = {
        "a/query/kernel": w,
        "a/query/bias": np.zeros((4, 16)),
        "a/out/kernel": out,
        "a/out/bias": np.zeros(32),
        "b/key/kernel": w,
    }
    result = planned(tmp_path, tensors)
    query, joined, key = result.matrices
    for matrix in (query, key):
        assert matrix.role == "attention"
        assert_same_levels(matrix, w.reshape(1, 32, 64))
    assert_same_levels(joined, out.reshape(1, 64, 32))
    assert [a.done for a in result.accounts] == ["matrix", "skipped", "matrix", "skipped", "matrix"]
    # The mean level of WᵀW over N = 32 levels is trace/N = 64·var = 2; of a head, 32·var = 1 over its 16.
    assert (levels(query.read()) ** 2).mean() == pytest.approx(2, rel=0.1)
    (heads,) = planned(tmp_path, {"a/query/kernel": w}, layout=["query/kernel=ieo"]).matrices
    assert_same_levels(heads, w.transpose(1, 0, 2))
    assert (levels(heads.read()) ** 2).mean() == pytest.approx(1, rel=0.1)
    (split,) = planned(tmp_path, {"a/query/kernel": w}, split=["query=heads:4"]).matrices
    assert_same_levels(split, w.transpose(1, 0, 2))


def test_experts_and_stacks_are_one_matrix_a_slice(tmp_path):
    experts, scan = RNG.normal(size=(8, 64, 96)), RNG.normal(size=(6, 20, 30))
    attention = RNG.normal(size=(6, 20, 4, 5))
    tensors = {
        "mlp.experts.gate_up_proj": experts,
        "scan/Dense_0/kernel": scan,
        "scan/Dense_0/bias": np.zeros((6, 30)),
        "scan/attn/query/kernel": attention,
        "scan/attn/query/bias": np.zeros((6, 4, 5)),
        "scan/LayerNorm_0/scale": np.ones((6, 20)),
        "layers/mlp/kernel": scan,  # without a bias the name of the group tells
    }
    result = planned(tmp_path, tensors)
    by_name = {matrix.name: matrix for matrix in result.matrices}
    assert set(by_name) == {name for name in tensors if name.endswith(("kernel", "proj"))}
    assert_same_levels(by_name["mlp.experts.gate_up_proj"], experts)
    assert_same_levels(by_name["scan/Dense_0/kernel"], scan)
    assert_same_levels(by_name["layers/mlp/kernel"], scan)
    assert_same_levels(by_name["scan/attn/query/kernel"], attention.reshape(6, 20, 20))
    skipped = {account.name: account.why for account in result.accounts if account.done == "skipped"}
    assert skipped["scan/LayerNorm_0/scale"] == "a stack of vectors (norm)"
    assert skipped["scan/attn/query/bias"].startswith("a ")


@pytest.mark.parametrize(
    "name, shape, axis",
    [
        ("h.0.attn.c_attn.weight", (32, 96), 1),
        ("attn.in_proj_weight", (96, 32), 0),
        ("blocks.0.attn.qkv.weight", (96, 32), 0),
        ("attn/qkv/kernel", (32, 96), 1),
    ],
)
def test_fused_queries_keys_and_values_are_three_matrices(tmp_path, name, shape, axis):
    w = RNG.normal(size=shape)
    result = planned(tmp_path, {name: w})
    assert [matrix.name for matrix in result.matrices] == [f"{name} [{part}]" for part in "qkv"]
    for matrix, part in zip(result.matrices, np.split(w, 3, axis), strict=True):
        assert_same_levels(matrix, (part if axis else part.T)[None])
    (whole,) = planned(tmp_path, {name: w}, split=["*=no"]).matrices
    assert_same_levels(whole, (w if axis else w.T)[None])


def test_heads_that_keep_their_q_k_v_together_need_their_number(tmp_path):
    w = RNG.normal(size=(96, 32))  # (heads 4, q k v, size 8) × in
    name = "layers.0.attention.query_key_value.weight"
    (whole,) = planned(tmp_path, {name: w}).matrices
    assert "--split heads:Nx3" in whole.why
    q, k, v = planned(tmp_path, {name: w}, split=["query_key_value=heads:4x3"]).matrices
    apart = w.reshape(4, 3, 8, 32)
    for index, matrix in enumerate((q, k, v)):
        assert_same_levels(matrix, apart[:, index].reshape(1, 32, 32).swapaxes(1, 2))


def test_grouped_heads_are_cut_by_the_configuration_beside(tmp_path):
    w = RNG.normal(size=(32 + 2 * 8, 32))
    writers.safetensors(tmp_path / "model.safetensors", {"l.0.qkv_proj.weight": w}, {"format": "pt"})
    (tmp_path / "config.json").write_text('{"num_attention_heads": 8, "num_key_value_heads": 2}')
    q, k, v = plan(open_checkpoint(tmp_path)).matrices
    for matrix, part in zip((q, k, v), np.split(w, [32, 40]), strict=True):
        assert_same_levels(matrix, part.T[None])


@pytest.mark.parametrize("beside", [{}, {"lora_alpha": 16}, {"lora_alpha": 16, "use_rslora": True}])
def test_low_rank_pairs_are_multiplied_out(tmp_path, beside):
    a, b = RNG.normal(size=(4, 24)), RNG.normal(size=(20, 4))
    names = [f"base_model.model.h.0.q_proj.lora_{side}.weight" for side in "AB"]
    writers.safetensors(tmp_path / "adapter_model.safetensors", dict(zip(names, (a, b), strict=True)))
    (tmp_path / "adapter_config.json").write_text(str(beside).replace("'", '"').replace("True", "true"))
    result = plan(open_checkpoint(tmp_path))
    (matrix,) = result.matrices
    scale = 1 if not beside else 16 / 4 if "use_rslora" not in beside else 16 / 2
    expected = levels(scale * b @ a)
    np.testing.assert_allclose(levels(matrix.read()[0])[:4], expected[:4])
    assert matrix.role == "adapter" and "rank 4" in matrix.how
    assert [account.done for account in result.accounts] == ["used", "used"]


def test_tied_weights_are_analysed_once(tmp_path):
    w = RNG.normal(size=(50, 8)).astype(np.float32)
    tensors = {"wte.weight": w, "h.weight": w.copy(), "lm_head.weight": w.copy(), "other_head.weight": w + 1}
    result = planned(tmp_path, tensors)
    assert [matrix.name for matrix in result.matrices] == ["wte.weight", "h.weight", "other_head.weight"]
    tied = result.accounts[2]
    assert tied.done == "used" and "wte.weight" in tied.why
    shared = writers.torch_tensor("0", w)
    pickled = b"\x80\x02}(" + b"".join(writers._text(n) + shared for n in ("a.weight", "b.weight")) + b"u."
    writers.torch_container(tmp_path / "f.pt", pickled, {"0": w.tobytes()})
    result = plan(open_checkpoint(tmp_path / "f.pt"))
    assert [a.done for a in result.accounts] == ["matrix", "used"]


def test_eight_bit_floats_are_multiplied_by_their_scales(tmp_path):
    import ml_dtypes

    true = RNG.normal(size=(200, 130)).astype(np.float32) * np.repeat([1.0, 100.0], [128, 72])[:, None]
    blocks = np.array(
        [[np.abs(true[i : i + 128, j : j + 128]).max() / 448 for j in (0, 128)] for i in (0, 128)]
    )
    spread = np.repeat(np.repeat(blocks, 128, 0), 128, 1)[:200, :130]
    narrow = (true / spread).astype(ml_dtypes.float8_e4m3fn)
    scale = blocks.astype(np.float32)
    entries = {
        "l.weight": ("F8_E4M3", narrow.shape, narrow.tobytes()),
        "l.weight_scale_inv": ("F32", scale.shape, scale.tobytes()),
    }
    writers.raw_safetensors(tmp_path / "f.safetensors", entries)
    result = plan(open_checkpoint(tmp_path / "f.safetensors"))
    (matrix,) = result.matrices
    found = np.sort(np.abs(matrix.read()[0]).ravel()), np.sort(np.abs(true).ravel())
    np.testing.assert_allclose(found[0], found[1], rtol=0.1, atol=0.3)
    assert [account.done for account in result.accounts] == ["matrix", "used"]


def test_what_is_no_weight_is_named(tmp_path):
    tensors = {
        "norm.weight": np.ones(8),
        "bn.running_mean": np.ones(8),
        "fc.bias": np.ones(8),
        "row.weight": np.ones((1, 8)),
        "cls_token": np.ones((1, 1, 8)),
        "temperature": np.array(2.0),
        "empty.weight": np.ones((0, 8)),
        "mask": np.ones((8, 8), bool),
        "ids": np.arange(8)[None],
        "step": np.array(3),
        "fc.qweight": np.ones((8, 8), np.int32),
        "w8.weight": np.ones((8, 8), np.int8),
        "packed": np.ones((8, 8), np.uint8),
        "wave.weight": np.ones((8, 8), complex),
        "optimizer/adam/m/kernel": np.ones((8, 8)),
        "fc.weight": RNG.normal(size=(8, 8)),
    }
    result = planned(tmp_path, tensors)
    assert [matrix.name for matrix in result.matrices] == ["fc.weight"]
    why = {account.name: (account.done, account.why) for account in result.accounts}
    assert set(why) == set(tensors) and all(reason for _, reason in why.values())
    quantised = ("refused", "integers, perhaps quantised: dequantise first")
    assert why["fc.qweight"] == why["w8.weight"] == why["packed"] == quantised
    assert why["wave.weight"][0] == "refused" and "complex" in why["wave.weight"][1]
    assert why["row.weight"] == ("skipped", "a single row or column: it has a single level")
    assert why["optimizer/adam/m/kernel"] == ("skipped", "state of the optimiser")
    assert why["mask"][0] == why["norm.weight"][0] == why["empty.weight"][0] == "skipped"


def test_matrices_with_the_names_of_biases_are_still_matrices(tmp_path):
    w = RNG.normal(size=(30, 20))
    result = planned(tmp_path, {"a": w, "b": w + 1, "scale": w + 2, "mean": w + 3})
    assert [matrix.name for matrix in result.matrices] == ["a", "b", "scale"]


def test_embeddings_heads_and_convolutions_are_marked(tmp_path):
    tensors = {
        "transformer.wte.weight": RNG.normal(size=(50, 8)),
        "lm_head.weight": RNG.normal(size=(50, 8)),
        "patch_embed.proj.weight": RNG.normal(size=(24, 3, 16, 16)),
        "blocks.0.mlp.fc1.weight": RNG.normal(size=(32, 8)),
        "blocks.0.attn.q_proj.weight": RNG.normal(size=(8, 8)),
    }
    roles = [matrix.role for matrix in planned(tmp_path, tensors).matrices]
    assert roles == ["embedding", "head", "convolution", "weight", "attention"]


def test_rules_that_fit_nothing_or_the_wrong_shape_are_errors(tmp_path):
    tensors = {"a.weight": RNG.normal(size=(6, 4, 3, 3))}
    for layout, split in [
        (["b=oikk"], []),
        (["a=oik"], []),
        (["a=oikx"], []),
        (["a=iikk"], []),
        (["oikk"], []),
        ([], ["b=3"]),
        ([], ["a=4"]),
        ([], ["a=1,2"]),
        ([], ["a=heads:5"]),
        ([], ["a=many"]),
    ]:
        with pytest.raises(InputError):
            planned(tmp_path, tensors, layout, split)
    (matrix,) = planned(tmp_path, tensors, ["a=oeii", "*.weight=kkio"]).matrices  # the last rule leads
    assert (matrix.inputs, matrix.outputs) == (72, 3)
    (matrix,) = planned(tmp_path, tensors, ["keras"]).matrices
    assert matrix.outputs in (3, 6)


def test_both_orientations_have_the_same_levels():
    w = RNG.normal(size=(3, 3, 8, 16))
    last, _ = as_matrix(w, "conv/kernel")
    first, _ = as_matrix(w.transpose(3, 2, 0, 1), "conv.weight")
    np.testing.assert_allclose(levels(last), levels(first))
    assert last.shape == first.shape[::-1] == (72, 16)
    stack, how = as_matrix(RNG.normal(size=(4, 6, 5)), "experts.w1")
    assert stack.shape == (4, 6, 5) and how == "4 slices of in × out"


@pytest.mark.parametrize(
    "name, outputs",
    [
        ("conv2d_transpose_1/w", 5),
        ("up/ConvTranspose_0/kernel", 5),
        ("Conv_0/transpose_3:0", 20),
        ("deconv/w", 5),
    ],
)
def test_transposed_layers_are_told_from_transposed_weights(tmp_path, name, outputs):
    """Kernel, outputs, inputs in Keras and TensorFlow; a converter calls a transposed weight so too."""
    (matrix,) = planned(tmp_path, {name: RNG.normal(size=(3, 3, 5, 20))}).matrices
    assert matrix.outputs == outputs


def test_operations_of_onnx_say_what_their_weights_are(tmp_path):
    conv, up = RNG.normal(size=(6, 5, 3, 3)), RNG.normal(size=(6, 5, 3, 3))
    stack, lstm = RNG.normal(size=(4, 6, 5)), RNG.normal(size=(2, 12, 5))
    tensors = {"1": conv, "2": up, "3": stack, "4": lstm}
    nodes = [("Conv", "x1"), ("ConvTranspose", "x2"), ("MatMul", "x3"), ("LSTM", "x4")]
    protos = [writers.onnx_tensor(name, w) for name, w in tensors.items()]
    writers.onnx_model(tmp_path / "f.onnx", *protos, nodes=nodes)
    a, b, c, d = plan(open_checkpoint(tmp_path / "f.onnx")).matrices
    assert_same_levels(a, conv.reshape(1, 6, -1).swapaxes(1, 2))
    assert_same_levels(b, up.transpose(0, 2, 3, 1).reshape(1, -1, 5))
    assert_same_levels(c, stack)
    assert_same_levels(d, lstm.swapaxes(1, 2))
    (kept, *_) = plan(open_checkpoint(tmp_path / "f.onnx"), layout=["1=iokk"]).matrices
    assert kept.outputs == 5


def test_a_stack_of_layers_may_be_the_whole_file(tmp_path):
    """As `nn.scan` or `vmap` over seeds leave it where nothing lies around it."""
    tensors = {
        "Dense_0/kernel": RNG.normal(size=(5, 24, 16)),
        "Dense_0/bias": np.zeros((5, 16)),
        "LayerNorm_0/scale": np.ones((5, 24)),
        "LayerNorm_0/bias": np.zeros((5, 24)),
        "Attention_0/query/kernel": RNG.normal(size=(5, 24, 3, 8)),
        "Attention_0/query/bias": np.zeros((5, 3, 8)),
        "Attention_0/out/kernel": RNG.normal(size=(5, 3, 8, 24)),
        "Attention_0/out/bias": np.zeros((5, 24)),
    }
    result = planned(tmp_path, tensors)
    by_name = {matrix.name: matrix for matrix in result.matrices}
    assert set(by_name) == {name for name in tensors if name.endswith("kernel")}
    assert_same_levels(by_name["Dense_0/kernel"], tensors["Dense_0/kernel"])
    assert_same_levels(
        by_name["Attention_0/out/kernel"], tensors["Attention_0/out/kernel"].reshape(5, 24, 24)
    )
    # One layer with a vector among its tensors is no stack.
    single = {"a/kernel": RNG.normal(size=(5, 24, 16)), "a/bias": np.zeros(16)}
    (matrix,) = planned(tmp_path, single).matrices
    assert matrix.members == 1 and (matrix.inputs, matrix.outputs) == (120, 16)


def test_variables_that_keras_numbers(tmp_path):
    """Two biases of a GRU are no matrix, and the first variable of a separable convolution is depthwise."""
    h5py = pytest.importorskip("h5py")
    shapes = {
        "layers/gru/cell/vars/0": (7, 18),
        "layers/gru/cell/vars/1": (6, 18),
        "layers/gru/cell/vars/2": (2, 18),
        "layers/separable_conv2d/vars/0": (3, 3, 24, 1),
        "layers/separable_conv2d/vars/1": (1, 1, 24, 10),
        "layers/separable_conv2d/vars/2": (10,),
        "layers/lstm/cell/vars/0": (7, 24),
        "layers/lstm/cell/vars/1": (6, 24),
        "layers/lstm/cell/vars/2": (24,),
    }
    with h5py.File(tmp_path / "f.weights.h5", "w") as file:
        for name, shape in shapes.items():
            file[name] = RNG.normal(size=shape)
    result = plan(open_checkpoint(tmp_path / "f.weights.h5"))
    found = {matrix.name: (matrix.inputs, matrix.outputs) for matrix in result.matrices}
    assert found == {
        "layers/gru/cell/vars/0": (7, 18),
        "layers/gru/cell/vars/1": (6, 18),
        "layers/lstm/cell/vars/0": (7, 24),
        "layers/lstm/cell/vars/1": (6, 24),
        "layers/separable_conv2d/vars/0": (9, 24),
        "layers/separable_conv2d/vars/1": (24, 10),
    }


@pytest.mark.parametrize("name", ["mha.out_proj.weight", "mha.q_proj_weight", "multi_head/out/kernel"])
def test_attention_is_marked_by_more_than_its_full_word(tmp_path, name):
    (matrix,) = planned(tmp_path, {name: RNG.normal(size=(24, 24))}).matrices
    assert matrix.role == "attention"
