"""The nano-GPT as arrays and loops over heads in NumPy, with its gradient by hand. Shares no code with it.

Parameters are a flat dictionary; names of a layer start with its number, such as "0.key.2" for head 2.
"""

import numpy as np

EPSILON = 1e-5


def loss_and_gradient(p, tokens, targets, layers, heads):
    """Mean cross-entropy, logits (batch, context, vocabulary), gradient; tokens: (batch, context)."""
    x = p["embedding"][tokens] + p["position"][: tokens.shape[1]]
    tape = []
    for i in range(layers):
        n, norm = _norm(x, p[f"{i}.norm1.scale"], p[f"{i}.norm1.bias"])
        outputs, heads_tape = [], []
        for h in range(heads):
            k, q, v = (n @ p[f"{i}.{kind}.{h}"] for kind in ("key", "query", "value"))
            score = q @ k.transpose(0, 2, 1) / np.sqrt(k.shape[-1])
            score = np.where(np.tri(score.shape[-1]) > 0, score, -np.inf)
            weight = _softmax(score)
            outputs.append(weight @ v)
            heads_tape.append((k, q, v, weight))
        joined = np.concatenate(outputs, -1)
        y = x + joined @ p[f"{i}.projection"] + p[f"{i}.projection.bias"]
        m, norm2 = _norm(y, p[f"{i}.norm2.scale"], p[f"{i}.norm2.bias"])
        hidden = np.maximum(m @ p[f"{i}.up"] + p[f"{i}.up.bias"], 0)
        tape.append((n, norm, heads_tape, joined, m, norm2, hidden))
        x = y + hidden @ p[f"{i}.down"] + p[f"{i}.down.bias"]
    final, norm = _norm(x, p["norm.scale"], p["norm.bias"])
    logits = final @ p["output"] + p["output.bias"]
    probability = _softmax(logits)
    rows, columns = np.indices(targets.shape)
    loss = -np.log(probability[rows, columns, targets]).mean()

    g = {}
    d = probability.copy()
    d[rows, columns, targets] -= 1
    d /= targets.size
    g["output"], g["output.bias"] = _outer(final, d), d.sum((0, 1))
    d, g["norm.scale"], g["norm.bias"] = _norm_back(d @ p["output"].T, p["norm.scale"], norm)
    for i in reversed(range(layers)):
        n, norm, heads_tape, joined, m, norm2, hidden = tape[i]
        g[f"{i}.down"], g[f"{i}.down.bias"] = _outer(hidden, d), d.sum((0, 1))
        e = (d @ p[f"{i}.down"].T) * (hidden > 0)
        g[f"{i}.up"], g[f"{i}.up.bias"] = _outer(m, e), e.sum((0, 1))
        back, g[f"{i}.norm2.scale"], g[f"{i}.norm2.bias"] = _norm_back(
            e @ p[f"{i}.up"].T, p[f"{i}.norm2.scale"], norm2
        )
        d = d + back
        g[f"{i}.projection"], g[f"{i}.projection.bias"] = _outer(joined, d), d.sum((0, 1))
        parts = np.split(d @ p[f"{i}.projection"].T, heads, axis=-1)
        into = 0.0
        for h, (k, q, v, weight) in enumerate(heads_tape):
            dweight = parts[h] @ v.transpose(0, 2, 1)
            dscore = weight * (dweight - (dweight * weight).sum(-1, keepdims=True)) / np.sqrt(k.shape[-1])
            cotangents = {
                "key": dscore.transpose(0, 2, 1) @ q,
                "query": dscore @ k,
                "value": weight.transpose(0, 2, 1) @ parts[h],
            }
            for kind, c in cotangents.items():
                g[f"{i}.{kind}.{h}"] = _outer(n, c)
                into = into + c @ p[f"{i}.{kind}.{h}"].T
        back, g[f"{i}.norm1.scale"], g[f"{i}.norm1.bias"] = _norm_back(into, p[f"{i}.norm1.scale"], norm)
        d = d + back
    g["embedding"] = np.zeros_like(p["embedding"])
    np.add.at(g["embedding"], tokens, d)
    g["position"] = np.zeros_like(p["position"])
    g["position"][: tokens.shape[1]] = d.sum(0)
    return loss, logits, g


def adamw(p, gradients, lr, decay=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Parameters after one AdamW step for each of the gradient functions' results, Loshchilov & Hutter."""
    first = {name: np.zeros_like(a) for name, a in p.items()}
    second = {name: np.zeros_like(a) for name, a in p.items()}
    for t, gradient in enumerate(gradients, 1):
        g = gradient(p)
        for name in p:
            first[name] = beta1 * first[name] + (1 - beta1) * g[name]
            second[name] = beta2 * second[name] + (1 - beta2) * g[name] ** 2
            step = first[name] / (1 - beta1**t) / (np.sqrt(second[name] / (1 - beta2**t)) + epsilon)
            p = p | {name: p[name] - lr * (step + decay * p[name])}
    return p


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _outer(inputs, cotangent):
    return np.einsum("bti,bto->io", inputs, cotangent)


def _norm(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    width = np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    unit = centred / width
    return unit * scale + bias, (unit, width)


def _norm_back(d, scale, saved):
    unit, width = saved
    e = d * scale
    e = e - e.mean(-1, keepdims=True) - unit * (e * unit).mean(-1, keepdims=True)
    return e / width, (d * unit).sum((0, 1)), d.sum((0, 1))
