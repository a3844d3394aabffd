"""Two values with one fingerprint do the same; what may be anything has none."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import fingerprint

FACTORIES = {
    dj.models.teacher_student: {
        "widths": (3, 32, 32, 1),
        "activation": "relu",
        "train": "all",
        "data": "online",
        "batches": 7,
        "label_noise": 0.1,
        "test_samples": 5,
    },
    dj.models.rbm: {"sampler": "collapsed"},
    dj.models.linear: {},
    dj.models.spiked_teacher: {},
}


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_model_has_one_and_every_option_changes_it(factory):
    usual = fingerprint.of(factory())
    assert fingerprint.of(factory()) == usual
    for name, value in FACTORIES[factory].items():
        assert fingerprint.of(factory(**{name: value})) != usual, name


def test_every_function_of_a_model_enters():
    one, other = dj.models.teacher_student(), dj.models.teacher_student(activation="relu")
    usual = fingerprint.of(one)
    for name in ("init", "update", "observe", "world"):
        mixed = dataclasses.replace(one, **{name: getattr(other, name)})
        # `init` knows no activation: it does the same in both.
        assert (fingerprint.of(mixed) == usual) == (name == "init"), name
    assert fingerprint.of(dataclasses.replace(one, draws=True)) != usual


def test_functions_of_others_have_none():
    model = dj.models.teacher_student()

    def update(*arguments):
        return model.update(*arguments)

    for own in (update, functools.wraps(model.update)(update), functools.partial(update), lambda: 0):
        with pytest.raises(fingerprint.Unknown, match=r"update|lambda"):
            fingerprint.of(dataclasses.replace(model, update=own))
    with pytest.raises(fingerprint.Unknown):
        fingerprint.of(tiny())
    with pytest.raises(fingerprint.Unknown):
        fingerprint.of(dataclasses.replace(model, config={"what": object()}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (1, True),
        ("1", 1),
        ("a", b"a"),
        ((1, 2), [1, 2]),
        (((1,), 2), (1, (2,))),
        ({"a": 1}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (["a;str 'b'"], ["a", "b"]),
        (np.float32(1), np.float64(1)),
        (np.float64(1), 1.0),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2), np.array([0.0, -0.0])),
        (np.zeros(2), jnp.zeros(2, jnp.float32)),
        (jnp.float32(1), jnp.asarray(1.0)),
        (jnp.tanh, jnp.sin),
        (jnp.tanh, np.tanh),
        (functools.partial(jnp.sum, axis=0), functools.partial(jnp.sum, axis=1)),
        (dj.Optimizer("adam"), dj.Optimizer("adamw")),
        (jax.random.key(0), jax.random.key(1)),
        (jax.random.key(0), jax.random.key(0, impl="rbg")),
    ],
    ids=lambda value: type(value).__name__,  # an address would differ between workers
)
def test_different_values_have_different_ones(one, other):
    assert fingerprint.of(one) != fingerprint.of(other)
    assert fingerprint.of(one) == fingerprint.of(one)


def test_it_sees_into_what_a_function_closes_over():
    """Functions of this package, as if they stood there: their code is known by its place."""
    scope = {"__name__": fingerprint.__name__}
    source = "def outer(v):\n def inner(x=v):\n  return inner, v\n return inner\n"
    exec(compile(source, fingerprint.__file__, "exec"), vars(fingerprint), scope)
    made = scope["outer"]
    assert fingerprint.of(made(1)) == fingerprint.of(made(1)), "a function that closes over itself"
    assert fingerprint.of(made(np.zeros(2))) != fingerprint.of(made(np.ones(2)))
    with pytest.raises(fingerprint.Unknown, match="object"):
        fingerprint.of(made(np.array([object()])))


SCALE = 1.0


def own(text: str, **scope):
    """A function that a user has written."""
    names = {"jnp": jnp, "SCALE": SCALE, **scope}
    exec(text, names)
    return names["own"]


PLAIN = "def own(x, k=1):\n return jnp.sin(SCALE * x) + k"
OTHERS = {
    "a constant": ("def own(x, k=1):\n return jnp.sin(SCALE * x) + k + 1", {}),
    "an operation": ("def own(x, k=1):\n return jnp.sin(SCALE * x) - k", {}),
    "a function of a library": ("def own(x, k=1):\n return jnp.cos(SCALE * x) + k", {}),
    "a default": ("def own(x, k=2):\n return jnp.sin(SCALE * x) + k", {}),
    "a global": (PLAIN, {"SCALE": 2.0}),
    "the type of a global": (PLAIN, {"SCALE": np.float32(1.0)}),
    "a module": (PLAIN, {"jnp": np}),
    "a function inside": ("def own(x, k=1):\n return (lambda y: jnp.sin(SCALE * y))(x) + k", {}),
    "a constant of one inside": ("def own(x, k=1):\n return (lambda y: jnp.sin(SCALE * y * 2))(x) + k", {}),
    "a global of one inside": (
        "def own(x, k=1):\n return (lambda y: jnp.sin(SCALE * y))(x) + k",
        {"SCALE": 2.0},
    ),
    "a handler": ("def own(x, k=1):\n try:\n  return jnp.sin(SCALE * x) + k\n finally:\n  pass", {}),
}


def test_functions_of_others_are_known_to_their_own_process():
    usual = fingerprint.of(own(PLAIN), others=True)
    assert fingerprint.of(own(PLAIN), others=True) == usual
    found = {name: fingerprint.of(own(text, **scope), others=True) for name, (text, scope) in OTHERS.items()}
    assert len({usual, *found.values()}) == 1 + len(found)
    with pytest.raises(fingerprint.Unknown, match="own"):
        fingerprint.of(own(PLAIN))


def test_what_functions_of_others_call_is_looked_into():
    inner = [own(f"def own(x):\n return x * {factor}") for factor in (1, 2)]
    outer = [own("def own(x):\n return helper(x)", helper=one) for one in inner]
    assert fingerprint.of(outer[0], others=True) != fingerprint.of(outer[1], others=True)


@pytest.mark.parametrize(
    ("text", "scope", "said"),
    [
        ("def own(x):\n return thing.value * x", {"thing": type("Thing", (), {"value": 1})()}, "Thing"),
        ("def own(x):\n import random\n return random.random() * x", {}, "random"),
        ("def own(x):\n return module.f(x)", {"module": pytest}, "module"),
        ("def own(x):\n return data[0] * x", {"data": np.zeros(fingerprint.MOST_BYTES // 8 + 1)}, "MB"),
    ],
    ids=["object", "import", "module", "large"],
)
def test_what_may_be_anything_is_not_known_to_its_own_process_either(text, scope, said):
    with pytest.raises(fingerprint.Unknown, match=said):
        fingerprint.of(own(text, **scope), others=True)
