"""Loops, branches and calls, which are written out."""

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import Unsupported

MOST_TURNS = 64  # of a loop that is written out


def scan(context, *operands, jaxpr, length, reverse, **_):
    if length > MOST_TURNS:
        raise Unsupported(f"a scan of {length} steps")
    # Ranks tell what is carried and what is stacked; how JAX counts them depends on its version.
    of_operands, of_results = context.equation.invars, context.equation.outvars
    carried = sum(o.aval.ndim == i.ndim for o, i in zip(of_results, jaxpr.out_avals, strict=True))
    stacks = sum(o.aval.ndim != i.ndim for o, i in zip(of_operands, jaxpr.in_avals, strict=True))
    constants = len(operands) - carried - stacks
    fixed, carry, rows = (
        operands[:constants],
        operands[constants:][:carried],
        operands[constants + carried :],
    )
    stacked = {}
    for turn in reversed(range(length)) if reverse else range(length):
        of_turn = (
            context.traced(lambda a, turn=turn: jax.lax.index_in_dim(a, turn, keepdims=False), row)[0]
            for row in rows
        )
        outputs = context.inner(jaxpr, (*fixed, *carry, *of_turn))
        carry, stacked[turn] = outputs[:carried], outputs[carried:]
    columns = zip(*(stacked[turn] for turn in range(length)), strict=True)
    return [*carry, *(context.traced(lambda *parts: jnp.stack(parts), *column)[0] for column in columns)]


def while_loop(context, *operands, cond_nconsts, body_nconsts, cond_jaxpr, body_jaxpr):
    """A loop whose number of turns is known now."""
    fixed = operands[:cond_nconsts], operands[cond_nconsts:][:body_nconsts]
    carry = operands[cond_nconsts + body_nconsts :]
    for _ in range(MOST_TURNS + 1):
        (goes_on,) = context.inner(cond_jaxpr, (*fixed[0], *carry))
        if goes_on.op != "constant":
            raise Unsupported("a loop whose length depends on data")
        if not goes_on.params["value"]:
            return list(carry)
        carry = context.inner(body_jaxpr, (*fixed[1], *carry))
    raise Unsupported(f"a loop of more than {MOST_TURNS} turns")


def cond(context, which, *operands, branches, **_):
    """Both branches and a choice, as under vmap."""
    if which.op == "constant":
        return context.inner(branches[int(np.clip(which.params["value"], 0, len(branches) - 1))], operands)
    if len(branches) != 2:
        raise Unsupported("a switch between more than two branches")
    no, yes = (context.inner(branch, operands) for branch in branches)
    return [
        context.traced(lambda w, n, y: jnp.where(w != 0, y, n), which, n, y)[0]
        for n, y in zip(no, yes, strict=True)
    ]


def call(context, *operands, **parameters):
    names = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
    (jaxpr,) = (parameters[name] for name in names if name in parameters)
    return context.inner(jaxpr, operands)


def platform_index(context, *, platforms):
    fits = [names is None or "cpu" in names for names in platforms]
    return [context.literal(np.int32(fits.index(True)))]


def same(context, *operands, **_):
    return list(operands)


# Calls of a jaxpr; other operations that hold one (`reduce`, `custom_root`) are none.
CALLS = frozenset(
    "jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call "
    "custom_vjp_call_jaxpr custom_vmap_call custom_lin".split()
)
RULES = {
    "scan": scan,
    "while": while_loop,
    "cond": cond,
    "platform_index": platform_index,
    **dict.fromkeys(CALLS, call),
    **dict.fromkeys(("optimization_barrier", "copy", "copy_p", "stop_gradient"), same),
}
