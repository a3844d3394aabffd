"""The teacher-student training loop as people write it: NumPy, float64, einsum, one network at a time.

A baseline for speed, and an implementation that shares no code with the model, for the tests.
"""

import numpy as np


def train_one(matrices, learned, inputs, targets, lr, steps, limit=100.0):
    """Train one network in place; returns the step at which it diverged, or -1.

    matrices: the student's weights (n_in, n_out), first layer first. learned: the indices of those that are
    trained. inputs: (batches, batch_size, n); targets: (batches, batch_size, n_out). tanh on hidden layers.
    """
    depth = len(matrices)
    for step in range(steps):
        x, y = inputs[step % len(inputs)], targets[step % len(targets)]
        values = [x]
        for layer, matrix in enumerate(matrices):
            z = np.einsum("bi,io->bo", values[-1], matrix)
            values.append(np.tanh(z) if layer < depth - 1 else z)
        errors = values[-1] - y
        if not 0.5 * np.mean(np.sum(errors**2, axis=1)) <= limit:
            return step
        delta = errors / len(x)
        gradients = {}
        for layer in reversed(range(depth)):
            gradients[layer] = np.einsum("bi,bo->io", values[layer], delta)
            if layer > min(learned):
                delta = np.einsum("bo,io->bi", delta, matrices[layer]) * (1 - values[layer] ** 2)
        for layer in learned:
            matrices[layer] -= lr * gradients[layer]
    return -1
