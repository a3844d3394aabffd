"""Teacher-student multilayer perceptron: the system of the phase diagram.

Layers [3, 32, 16, 1] by default, tanh on the hidden layers, linear output, x ~ N(0, 1). Teacher: every
entry N(0, 1/n_in). Student: with `train="middle"` it shares the teacher's first and last matrix and learns
those between (the published setting); with `train="all"` it learns every matrix. Learned matrices start
from N(0, sigma_w^2/n_in). Loss: half the mean squared error of a batch. [C]; arXiv 2509.01349.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dysonjax import checks
from dysonjax.models.base import Model, Start, Update, eigh, lane_product, normal, product, split

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "identity": lambda z: z}
MAX_BATCH_LOSS = 100.0  # a member above it is no longer updated, as in the published runs
TRAIN_SAMPLES = 256  # size of the sample on which train_loss and grad_norm are evaluated


class World(NamedTuple):
    """What all members of a seed share. Matrices are stored (n_in, n_out)."""

    teacher: tuple[jax.Array, ...]
    inputs: jax.Array  # what enters the learned layers, (batches, batch_size, n); empty if data="online"
    targets: jax.Array  # (batches, batch_size, n_out); empty if data="online"
    key: jax.Array  # of the evaluation sample, if data="online"


def teacher_student(
    widths: Sequence[int] = (3, 32, 16, 1),
    activation: str = "tanh",
    train: str = "middle",
    data: str = "fixed",
    batches: int = 1000,
    label_noise: float = 0.0,
    test_samples: int = 128,
    scaling: str = "standard",
    base_width: int = 64,
) -> Model:
    """Multilayer perceptron that learns from a teacher of its own shape: the system of the phase diagram.

    The defaults are the published setting.

    Parameters
    ----------
    widths : sequence of int, default (3, 32, 16, 1)
        Neurons of each layer, input first.
    activation : {"tanh", "relu", "identity"}, default "tanh"
        Activation of the hidden layers. The output is linear.
    train : {"middle", "all"}, default "middle"
        With "middle" the student shares the teacher's first and last matrix and learns those between; with
        "all" it learns every matrix.
    data : {"fixed", "online"}, default "fixed"
        "fixed" passes `batches` batches in order in every epoch; "online" draws fresh samples in every step.
    batches : int, default 1000
        Batches of a fixed data set.
    label_noise : float, default 0.0
        Standard deviation of Gaussian noise added to the targets of training. 0 is noise-free.
    test_samples : int, default 128
        Fresh inputs for the observables.
    scaling : {"standard", "mup"}, default "standard"
        "mup", for train="all", is the maximal update parametrisation of plain gradient steps (see Notes).
    base_width : int, default 64
        Width of the hidden layers at which "mup" and "standard" are the same.

    Returns
    -------
    Model
        Matrices are named "w1", "w2" and so on from the input; the learned ones start from
        N(0, sigma_w²/n_in).

    Raises
    ------
    InputError
        If a width is no positive integer, if there are fewer than two layers of weights, if train="middle"
        leaves nothing to learn or comes with "mup", or if a number is out of range.

    Notes
    -----
    Inputs are x ~ N(0, 1), the entries of the teacher N(0, 1/n_in), the loss is half the mean squared error
    of a batch. [C]; arXiv 2509.01349.

    With "mup" the last matrix starts from N(0, sigma_w² base_width/n_in²), and the learning rate of the first
    is multiplied by n_out/base_width and of the last by base_width/n_in, so that features of every width
    learn at the same rate (arXiv 2011.14522).

    Examples
    --------
    The published student learns the matrix between its hidden layers; here, all three:

    >>> student = dj.models.teacher_student(widths=(3, 32, 16, 1), train="all")
    >>> start = jax.eval_shape(lambda key: student.init(key, None, {"sigma_w": 1.0}), jax.random.key(0))
    >>> {name: matrix.shape for name, matrix in student.matrices(start.params).items()}
    {'w1': (3, 32), 'w2': (32, 16), 'w3': (16, 1)}
    """
    widths = tuple(checks.positive_int("widths", width) for width in widths)
    if len(widths) < 3:
        raise checks.InputError(f"widths needs at least one hidden layer (three numbers), got {list(widths)}")
    checks.one_of("activation", activation, list(ACTIVATIONS))
    checks.one_of("train", train, ["middle", "all"])
    checks.one_of("data", data, ["fixed", "online"])
    if train == "middle" and len(widths) < 4:
        raise checks.InputError(
            f"train='middle' needs two hidden layers or more, got widths {list(widths)}; use train='all'"
        )
    mup = checks.one_of("scaling", scaling, ["standard", "mup"]) == "mup"
    if mup and train == "middle":
        raise checks.InputError("scaling='mup' is about the first and the last matrix; use train='all'")
    base_width = checks.positive_int("base_width", base_width)
    batches = checks.positive_int("batches", batches)
    test_samples = checks.positive_int("test_samples", test_samples)
    if checks.in_range("label_noise", checks.finite("label_noise", label_noise)) < 0:
        raise checks.InputError(f"label_noise must be zero or positive, got {label_noise}")

    phi = ACTIVATIONS[activation]
    depth = len(widths) - 1
    # Layers [first, last) are learned; those below are evaluated once with the data.
    first, last = (1, depth - 1) if train == "middle" else (0, depth)

    # With one learned matrix its inputs are shared data, and its outputs meet the shared last layer.
    shared = train == "middle" and last - first == 1
    multiply = lane_product if shared else product

    def features(matrices, inputs, multiply=jnp.matmul):
        for matrix in matrices:
            inputs = phi(multiply(inputs, matrix))
        return inputs

    def draw_samples(key, teacher, shape):
        """Inputs of the learned layers and targets for fresh x ~ N(0, 1)."""
        key_x, key_noise = split(key)
        below = features(teacher[:first], normal(key_x, (*shape, widths[0])))
        targets = features(teacher[first:-1], below) @ teacher[-1]
        if label_noise:
            targets = targets + label_noise * normal(key_noise, targets.shape)
        return below, targets

    def narrowed(layer):
        """Of the start of a matrix, by muP."""
        return (base_width / widths[layer]) ** 0.5 if mup and layer == depth - 1 else 1.0

    def hastened(name, direction):
        """The direction of a matrix times its own learning rate, by muP."""
        layer = int(name[1:]) - 1
        if mup and layer in (0, depth - 1):
            return direction * (widths[1] / base_width if layer == 0 else base_width / widths[-2])
        return direction

    def world(key, batch_size):
        key_teacher, key_data = split(key)
        shapes = itertools.pairwise(widths)
        keys = split(key_teacher, depth)
        teacher = tuple(normal(k, shape) / jnp.sqrt(shape[0]) for k, shape in zip(keys, shapes, strict=True))
        shape = (batches if data == "fixed" else 0, batch_size)
        inputs, targets = draw_samples(key_data, teacher, shape)
        return World(teacher, inputs, targets, key_data)

    def init(key, world, point):
        keys = split(key, depth)
        return Start(
            {
                f"w{layer + 1}": point["sigma_w"]
                * narrowed(layer)
                / jnp.sqrt(widths[layer])
                * normal(keys[layer], (widths[layer], widths[layer + 1]))
                for layer in range(first, last)
            }
        )

    def batch(key, world, step, batch_size):
        if data == "online":
            return draw_samples(key, world.teacher, (batch_size,))
        index = jax.lax.rem(step, jnp.asarray(batches, step.dtype))
        return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, index, keepdims=False), world[1:3])

    def hidden(params, inputs):
        """Features of the last hidden layer, (samples, n)."""
        learned = list(params.values())
        return features(learned if train == "middle" else learned[:-1], inputs, multiply)

    def readout(params, world):
        return world.teacher[-1] if train == "middle" else params[f"w{depth}"]

    def loss(params, samples, world):
        inputs, targets = samples
        errors = multiply(hidden(params, inputs), readout(params, world)) - targets
        return 0.5 * jnp.mean(jnp.sum(errors * errors, axis=-1))

    def update(params, memory, samples, world, point):
        value, direction = jax.value_and_grad(loss)(params, samples, world)
        direction = {name: hastened(name, leaf) for name, leaf in direction.items()}
        return Update(direction, memory, value, value <= MAX_BATCH_LOSS)

    def training_sample(world):
        """A fixed sample of the training distribution: the first batches, or fresh draws if online."""
        if data == "online":
            return draw_samples(world.key, world.teacher, (TRAIN_SAMPLES,))
        return tuple(a.reshape(-1, a.shape[-1])[:TRAIN_SAMPLES] for a in world[1:3])

    def observe(params, initial, world, key, point):
        value, gradient = jax.value_and_grad(loss)(params, training_sample(world), world)
        square = sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient))
        below = features(world.teacher[:first], normal(key, (test_samples, widths[0])))
        targets = features(world.teacher[first:-1], below) @ world.teacher[-1]
        now, start = hidden(params, below), hidden(initial, below)
        errors = now @ readout(params, world) - targets
        field = targets @ readout(params, world).T  # h = y Z: the external field of [C]
        drift_gap, noise_gap, noise_gap_published = signal_and_noise(params, below, targets, world)
        return {
            "train_loss": value,
            "grad_norm": jnp.sqrt(square),
            "test_loss": jnp.mean(jnp.sum(errors * errors, axis=-1)),
            "target_variance": jnp.mean(jnp.sum(targets * targets, axis=-1)),
            "feature_overlap": jnp.mean(start * now),
            "feature_memory": jnp.sum(_unit(start, None) * _unit(now, None)),
            "field_alignment": jnp.sum(_unit(field, None) * _unit(now, None)) / test_samples,
            "field_alignment_per_sample": jnp.mean(jnp.sum(_unit(field, -1) * _unit(now, -1), axis=-1)),
            "field_alignment_per_feature": jnp.mean(jnp.sum(_unit(field, 0) * _unit(now, 0), axis=0)),
            "preactivation_variance": preactivation_variance(params, below),
            "drift_gap": drift_gap,
            "noise_gap": noise_gap,
            "noise_gap_published": noise_gap_published,
        }

    def preactivation_variance(params, below):
        """Mean square of the input to the first learned layer's activation."""
        z = below @ params[f"w{first + 1}"]
        return jnp.mean(z * z)

    def signal_and_noise(params, below, targets, world):
        """K and both V of the noise line, for the learned matrix that feeds the last hidden layer.

        The gradient of one sample with respect to W (n_in, n_out) is a d^T, with a its input and d the error
        signal, so that delta X = W^T g + g^T W = z d^T + d z^T with z = W^T a. In the eigenbasis U of X, with
        the largest eigenvalue as level 1: K_i = |mean of delta X_ii| and K = K_1 - K_N. The noise is
        V = 2 V_1N/(N-1) + sum_{k=1}^{N-2} (V_{1,1+k} + V_{N,N-k})/k with V_ij the variance of delta X_ij in
        that basis. Published is another V: U^T V U with V the variances of the elements of delta X in the
        basis of the features, and V_{N,N-k+1} in the sum (data of arXiv 2509.01349). A matrix of variances
        does not turn like a matrix: this V changes with the signs of the eigenvectors, which nothing but the
        eigensolver chooses. Here the first component of each is positive, so that all solvers agree.
        """
        names = [f"w{layer + 1}" for layer in range(first, min(last, depth - 1))]
        a = features([params[name] for name in names[:-1]], below)
        weight = params[names[-1]]
        size = min(weight.shape)
        if size < 3:
            return jnp.nan, jnp.nan, jnp.nan

        def output_loss(z):
            return 0.5 * jnp.sum((phi(z) @ readout(params, world) - targets) ** 2)

        z = a @ weight
        d = jax.grad(output_loss)(z)
        _, basis = eigh(weight.T @ weight)
        basis = basis[:, ::-1][:, :size]
        basis = basis * jnp.where(basis[0] < 0, -1, 1)
        # Of the largest and the smallest level alone, (2, size); nothing else enters K and V.
        edges = jnp.array([0, size - 1])
        outer = basis[:, edges]
        sums = z.T @ d
        own_mean = (sums + sums.T) / test_samples
        mean = outer.T @ own_mean @ basis
        # The edges' rows of U^T V, whose sums over samples are taken last: V itself need not be known.
        zz, zd, dd = z * z, z * d, d * d
        rows = (zz @ outer).T @ dd + 2 * (zd @ outer).T @ zd + (dd @ outer).T @ zz
        turned = (rows / test_samples - outer.T @ own_mean**2) @ basis
        z, d = z @ basis, d @ basis
        elements = z[:, edges, None] * d[:, None] + d[:, edges, None] * z[:, None]
        variance = jnp.mean(elements**2, axis=0) - mean**2
        k = jnp.arange(1, size - 1)

        def repulsion(v, shift):
            return 2 * v[0, -1] / (size - 1) + jnp.sum((v[0, k] + v[1, size - 1 - k + shift]) / k)

        drift = jnp.abs(mean[0, 0]) - jnp.abs(mean[1, -1])
        return drift, repulsion(variance, 0), repulsion(turned, 1)

    def matrices(params):
        return params

    def targets(world):
        return {f"w{layer + 1}": world.teacher[layer] for layer in range(first, last)}

    return Model(
        name="teacher-student",
        world=world,
        init=init,
        batch=batch,
        update=update,
        matrices=matrices,
        observe=observe,
        observables=OBSERVABLES,
        targets=targets,
        draws=data == "online",
        member_axis="last" if shared else "inner",
        config={
            "widths": list(widths),
            "activation": activation,
            "train": train,
            "data": data,
            "batches": batches,
            "label_noise": label_noise,
            "test_samples": test_samples,
            **({"scaling": scaling, "base_width": base_width} if mup else {}),
        },
    )


OBSERVABLES = {
    "train_loss": f"half the mean squared error on {TRAIN_SAMPLES} training samples",
    "grad_norm": "Frobenius norm of the gradient of train_loss",
    "test_loss": "mean squared error on fresh inputs",
    "target_variance": "mean square of the targets of test_loss",
    "feature_overlap": "overlap q of the features with the initial ones, mean over samples and features",
    "feature_memory": "cosine between the features and the initial ones",
    "field_alignment": "h·φ/samples, both normalised over (samples, features)",
    "field_alignment_per_sample": "cosine between field h and features φ, mean over samples",
    "field_alignment_per_feature": "cosine between field h and features φ over samples, mean over features",
    "preactivation_variance": "mean square of the first learned pre-activation",
    "drift_gap": "K: difference of the mean gradient drift of largest and smallest eigenvalue",
    "noise_gap": "V: variance of the gradient that repels the outermost levels",
    "noise_gap_published": "V as published, from the turned matrix of the elements' variances; no variance",
}


def _unit(values, axis):
    """`values` scaled to unit norm over the axis (None: over all); zero stays zero."""
    norm = jnp.sqrt(jnp.sum(values * values, axis=axis, keepdims=axis is not None))
    return values / jnp.maximum(norm, jnp.finfo(values.dtype).tiny)
