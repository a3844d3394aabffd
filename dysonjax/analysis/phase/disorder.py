"""The loss as the energy of a disordered system: couplings J, fields h and the features in them. [C].

With φ the features of the last hidden layer on an input, Z the last matrix and y the target, half the mean
squared error is

    L = ½ Σ_ij J_ij ⟨φ_i φ_j⟩ − Σ_j ⟨h_j φ_j⟩ + ½⟨y²⟩,    J_ij = Σ_k Z_ik Z_jk,   h_j = Σ_k Z_jk y_k,

⟨.⟩ over inputs: spins φ with couplings J that favour disorder (J has no negative eigenvalue, and as many
positive ones as there are outputs) in fields h, another one for every input. With the outer layers fixed, J
and h are quenched; with all layers learned they move with Z. Where the student has learned, ŷ = y, both
energies are given by the target alone: ½Jφφ = ½⟨y²⟩ and −hφ = −⟨y²⟩. Features that know nothing of the target
have −hφ = 0.
"""

import jax
import numpy as np
import xarray as xr

from dysonjax import checks, threefry
from dysonjax.analysis.phase.networks import model_of
from dysonjax.ensemble import configuration, member_of

PLACES = ("batch_size", "lr", "sigma_w", "seed")


def disorder(dataset: xr.Dataset) -> xr.Dataset:
    """Energies, couplings and fields of every member at all records: the loss as that of a disordered system.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network whose weights were kept at all records.

    Returns
    -------
    xarray.Dataset
        Dims (batch_size, lr, sigma_w, seed, record), on the test inputs of every member: `coupling_energy`
        ½⟨Jφφ⟩, `field_energy` −⟨hφ⟩ and `target_energy` ½⟨y²⟩, whose sum is half of `test_loss`; `coupling`,
        the root mean square of the J_ij with i ≠ j; `field`, that of the h_j; and `local_field`, that of (Jφ
        − h)_j, the force on a feature.

    Raises
    ------
    InputError
        If the run keeps no weights, or is one of another model.

    Notes
    -----
    L = ½ Σ_ij J_ij ⟨φ_i φ_j⟩ − Σ_j ⟨h_j φ_j⟩ + ½⟨y²⟩ with J_ij = Σ_k Z_ik Z_jk and h_j = Σ_k Z_jk y_k, where
    φ are the features of the last hidden layer, Z the last matrix and y the target. [C].

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> found = dj.phase.disorder(run)
    >>> total = found["coupling_energy"] + found["field_energy"] + found["target_energy"]
    >>> bool(np.allclose(total, run["test_loss"] / 2, rtol=1e-3, atol=1e-6))
    True
    """
    model, config = model_of(dataset), configuration(dataset)["model"]
    phi = {"identity": np.asarray, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[config["activation"]]
    depth = len(config["widths"]) - 1
    learned = range(1, depth - 1) if config["train"] == "middle" else range(depth)
    names = {k: "weights" if len(learned) == 1 else f"weights_w{k + 1}" for k in learned}
    if any(name not in dataset or "record" not in dataset[name].dims for name in names.values()):
        raise checks.InputError(
            "the run keeps no weights at its records; train with keep_weights='all' (--keep-weights all)"
        )
    weights = {k: dataset[name].transpose(*PLACES, "record", ...) for k, name in names.items()}
    some = next(iter(weights.values()))
    shape, found = some.shape[:5], []
    for index in np.ndindex(shape[:4]):
        place = {name: some[name].values[i].item() for name, i in zip(PLACES, index, strict=True)}
        member = member_of(model, dataset, **place)
        teacher = [np.asarray(matrix, np.float64) for matrix in member.world.teacher]
        x = _inputs(member, config)
        y = _forward(x, teacher, phi) @ teacher[-1]
        for record in range(shape[4]):
            own = [weights[k].values[(*index, record)] if k in weights else teacher[k] for k in range(depth)]
            own = [np.asarray(matrix, np.float64) for matrix in own]
            found.append(_energies(_forward(x, own, phi), own[-1], y))
    labels = ("coupling_energy", "field_energy", "target_energy", "coupling", "field", "local_field")
    values = np.reshape(found, (*shape, len(labels)))
    coordinates = {dim: some[dim] for dim in (*PLACES, "record")}
    return xr.Dataset(
        {name: ((*PLACES, "record"), values[..., i]) for i, name in enumerate(labels)}, coordinates
    )


def _forward(x: np.ndarray, matrices: list[np.ndarray], phi) -> np.ndarray:
    """Features of the last hidden layer."""
    for matrix in matrices[:-1]:
        x = phi(x @ matrix)
    return x


def _energies(features: np.ndarray, last: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """The numbers of `disorder`; features (inputs, n), last (n, outputs), y (inputs, outputs)."""
    coupling, field = last @ last.T, y @ last.T
    turned = features @ coupling
    apart = coupling[~np.eye(len(coupling), dtype=bool)]
    return (
        0.5 * float(np.mean(np.sum(turned * features, axis=1))),
        -float(np.mean(np.sum(field * features, axis=1))),
        0.5 * float(np.mean(np.sum(y * y, axis=1))),
        float(np.sqrt(np.mean(apart**2))),
        float(np.sqrt(np.mean(field**2))),
        float(np.sqrt(np.mean((turned - field) ** 2))),
    )


@threefry.settled()
def _inputs(member, config) -> np.ndarray:
    """The fresh inputs on which the run observed this member."""
    shape, dtype = (config["test_samples"], config["widths"][0]), member.world.teacher[0].dtype
    with jax.enable_x64(dtype == np.float64):
        return np.asarray(jax.random.normal(member.observation_key, shape, dtype), np.float64)
