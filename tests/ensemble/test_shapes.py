"""Shapes of a tile that are counted from those of one network are the shapes that its programs have."""

import itertools

import jax
import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import jobs, programs, shapes
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.layout import Points

MODELS = {
    "teacher-student": lambda: dj.models.teacher_student(widths=(3, 5, 4, 1)),
    "in the last axis": lambda: dj.models.teacher_student(widths=(3, 5, 4, 1), train="all"),
    "gibbs": dj.models.rbm,
    "collapsed": lambda: dj.models.rbm(sampler="collapsed"),
    "linear": dj.models.linear,
    "spiked": dj.models.spiked_teacher,
    "own": tiny,
}


# 7 points lie next to the last axis, 17 in it.
QUICK = [(n, p) for n in ("linear", "own") for p in (7, 17)]
QUICK += [("in the last axis", 17), ("collapsed", 17), ("spiked", 7)]
REST = [case for case in itertools.product(MODELS, (7, 17)) if case not in QUICK]


@pytest.mark.parametrize(
    ("name", "points"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]
)
def test_they_are_those_of_the_programs(name, points):
    model = MODELS[name]()
    grid = dj.Grid(lr=np.linspace(0.01, 0.02, points), batch_size=3, seeds=4)
    config = Config(grid, 4, 2, optimizer="adam", devices=2)
    work = jobs.job(model, config, 0, range(4))
    identity = work.waves[0].identity
    one = shapes.of_one(model, config.transform, 3, identity)
    mesh = jax.sharding.Mesh(np.array(config.devices), ("devices",))
    built = programs.build(model, config.transform, 3, True, mesh, one.state)
    size = identity.point["lr"].shape
    layout = jobs.layout.points(model, size[2])

    expected = jax.eval_shape(built.start, identity)
    found = one.of_world(*size[:2]), one.of_state(*size, layout)
    assert alike(found, expected)
    assert alike(one.of_observed(*size), jax.eval_shape(built.observe, identity, *expected))
    assert alike(work.lowered.observed, one.of_observed(*size))


def alike(one, other) -> bool:
    leaves = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (one, other)]
    return leaves[0] == leaves[1] and jax.tree.structure(one) == jax.tree.structure(other)


def test_a_wrong_layout_would_be_seen():
    one = shapes.OfOne(None, jax.ShapeDtypeStruct((3, 4), np.float32), {}, {}, {})
    found = [one.of_state(1, 2, 5, Points(last)).shape for last in (False, True)]
    assert found == [(1, 2, 3, 5, 4), (1, 2, 3, 4, 5)]
