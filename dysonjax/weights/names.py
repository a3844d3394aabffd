"""What the name of a tensor says: its parts, whatever the framework's punctuation, and its role."""

import re
from functools import lru_cache

# Endings that a framework hangs on a name without meaning for us.
_HANGERS = re.compile(r"(?::\d+|[./](?:value|raw_value|get_value|\.attributes/variable_value))$")
_BIAS = {"bias", "b", "beta", "offset", "biases", "bias_ih", "bias_hh"}
_NORM = {"scale", "gamma", "g"}
_STATISTIC = {
    *("running_mean", "running_var", "moving_mean", "moving_variance", "mean", "var", "variance"),
    *("num_batches_tracked", "inv_freq", "avg", "average", "hidden", "counter"),
}
_OPTIMISER = re.compile(
    r"^(optimi[sz]ers?|optimi[sz]er_(states?|state_dict|weights)|optim|opt_states?|opt|exp_avg(_sq)?|"
    r"lr_schedulers?|adam_[mv]|momentum_buffer)$"
)
_EMBEDDING = re.compile(
    r"(^|_)(embed(s|ding|dings|der)?|embd|wte|wpe|emb|tok_embeddings|pos_embed|vocab|relative_attention_bias)(_|$)"
    r"|embedding|bias_table"
)
_HEAD = re.compile(
    r"^(lm_head|head|heads|classifier|cls|score|output_layer|logits|fc_out|decoder_head|embed_out)$"
)
_NORM_MODULE = re.compile(
    r"(^|_)(ln|norm|layernorm|batchnorm|groupnorm|rmsnorm|bn|instancenorm)(_|\d|$)|norm(_?\d+)?$"
)
_EXPERTS = re.compile(r"(^|_)(experts?|moe|mixture)(_|$)|^switch_mlp$")
_CONVOLUTION = re.compile(r"(^|_|\d|[a-z])conv|(^|_)(patch_embed(ding|dings)?|stem|downsample)(_|$)")
# Of a layer; a weight that a converter has transposed is called so as well, and is no such layer.
_TRANSPOSED = re.compile(r"conv\w*transpose|transposed?_?conv|deconv|upconv|conv_?tr(_|$|\d)")
_DEPTHWISE = re.compile(r"depthwise")
_STACK = re.compile(r"^(scan.*|layers|blocks|stack|stacked|repeat|h)$|_scan$|^.*scan.*$")
_FUSED = re.compile(
    r"c_attn|(to_|attn_)?qkv(_proj(ection)?)?|wqkv|in_proj(_weight|_kernel)?|query_key_value|qkv_(kernel|weight)"
)
_QUANTISED = re.compile(r"(q|packed_?)weight|qzeros|weight_packed|absmax|quant|weight_(zp|zero_point)|g_idx")


@lru_cache(maxsize=100_000)
def parts(name: str) -> tuple[str, ...]:
    """The name taken apart at dots, slashes and brackets, in lower case: `['params']['a']['kernel']` too."""
    plain = name.strip().lower()
    while (shorter := _HANGERS.sub("", plain)) != plain:
        plain = shorter
    return tuple(part for part in re.split(r"[./\[\]'\"\s]+", plain) if part) or (plain,)


def leaf(name: str) -> str:
    return parts(name)[-1]


def module(name: str) -> str:
    """The name of the layer that the tensor belongs to, in the spelling of `parts`."""
    return "/".join(parts(name)[:-1])


def role(name: str) -> str:
    """`bias`, `norm`, `statistic`, `optimiser`, `embedding`, `head`, `convolution`, `experts` or `weight`."""
    of, last = parts(name), leaf(name)
    if any(_OPTIMISER.match(part) for part in of[:-1]):
        return "optimiser"
    if last in _BIAS or last.endswith(("_bias", ".bias")) or re.fullmatch(r"bias_[a-z_\d]+", last):
        return "bias"
    if last in _STATISTIC:
        return "statistic"
    if last in _NORM or (
        len(of) > 1 and _NORM_MODULE.search(of[-2]) and last in ("weight", "w", "weights", "0")
    ):
        return "norm"
    # A patch embedding is a convolution by its shape; an expert of a head is an expert.
    if any(_EXPERTS.search(part) for part in of):
        return "experts"
    near = of[-3:]
    if any(_EMBEDDING.search(part) for part in near) and not any("patch" in part for part in near):
        return "embedding"
    if any(_HEAD.match(part) for part in near):
        return "head"
    if any(_CONVOLUTION.search(part) for part in near):
        return "convolution"
    return "weight"


def attention_side(name: str) -> str | None:
    """`in` for kernels that make queries, keys or values, `out` for the one that joins heads again."""
    of = parts(name)[-3:]
    inside = any(re.search(r"attention|attn|mha|multi_?head|^(query|key|value)$", p) for p in parts(name))
    if any(
        re.fullmatch(
            r"(query|key|value|qkv|q|k|v|[qkv]_proj(_weight)?|to_[qkv]|(query|key|value)_(dense|proj))", p
        )
        for p in of
    ):
        return "in"
    if inside and any(
        re.fullmatch(r"(out|o|attention_output|output_dense|out_proj|o_proj|output|to_out)", p) for p in of
    ):
        return "out"
    return None


def is_fused_qkv(name: str) -> bool:
    return any(_FUSED.fullmatch(part) for part in parts(name)[-2:])


def is_interleaved_qkv(name: str) -> bool:
    """GPT-NeoX, BLOOM and Falcon keep q, k and v of a head together."""
    return "query_key_value" in parts(name)[-2:]


def is_stack(name: str) -> bool:
    """Whether a part of the name is that of layers run by a scan, without a number that picks one."""
    of = parts(name)[:-1]
    return any(
        _STACK.match(part) and not (at + 1 < len(of) and of[at + 1].isdecimal()) for at, part in enumerate(of)
    )


def is_transposed(name: str) -> bool:
    return any(_TRANSPOSED.search(part) for part in parts(name))


def is_depthwise(name: str) -> bool:
    of = parts(name)
    # Keras numbers the variables of a separable convolution: the depthwise kernel is the first.
    numbered = of[-1] == "0" and any("separable" in part for part in of)
    return numbered or any(_DEPTHWISE.search(part) for part in of)


def is_quantised(name: str) -> bool:
    return bool(_QUANTISED.search(leaf(name)))


def says_torch(name: str) -> bool | None:
    """Whether the last word is PyTorch's (`weight`) or another's (`kernel`, `w`, `weights`); else None."""
    last = leaf(name)
    if last in ("weight", "weight_orig", "weight_v", "original", "original1") or last.endswith("_weight"):
        return True
    if last.endswith("kernel") or last in ("w", "weights", "depthwise_weights", "pointwise_weights"):
        return False
    return None
