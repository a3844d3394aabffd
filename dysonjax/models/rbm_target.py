"""What a Gaussian RBM is to learn: the second moments of its data, from any of four descriptions."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from dysonjax import checks

SYMMETRY_TOLERANCE = 1e-8  # largest asymmetry of a covariance, relative to its largest entry


@dataclasses.dataclass(frozen=True)
class Target:
    """A law N(0, covariance) or a data set with these second moments."""

    covariance: np.ndarray  # C = K_target⁻¹, (visible, visible), float64
    kappa: np.ndarray  # eigenvalues of K_target, ascending, (visible,)
    data: np.ndarray | None  # (samples, visible), drawn in mini-batches; None: C itself is the data term
    description: dict[str, Any]  # JSON values


def lattice_kappa(mass: float, sites: int) -> np.ndarray:
    """κ_n = mass² + 2 − 2cos(2πn/sites), n = 0 … sites − 1: a free scalar field on a ring, lattice units."""
    return mass**2 + 2 - 2 * np.cos(2 * np.pi * np.arange(sites) / sites)


def rbm_target(visible: int | None, mu: float, *, mass: float, kappa, covariance, data) -> Target:
    """The target that the arguments describe; `mass` counts if nothing else is given.

    Raises InputError if more than one description is given, if one does not have `visible` components, if a
    matrix is not symmetric positive definite, or if a κ_i ≥ mu², where learning has no fixed point.
    """
    given = {"kappa": kappa, "covariance": covariance, "data": data}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise checks.InputError(f"give only one of kappa, covariance and data, got {' and '.join(given)}")
    if visible is not None:
        visible = checks.positive_int("visible", visible)
        checks.memory(f"an RBM of {visible} visible units", 32 * visible**2, "take fewer")
    samples = None
    name = next(iter(given), "lattice")
    description: dict[str, Any]
    if kappa is not None:
        values = checks.in_range("kappa", checks.finite_array("kappa", kappa))
        _width("kappa", values.shape, values.ndim == 1, visible)
        if (values <= 0).any():
            raise checks.InputError(f"kappa must be positive, got {values.min():g}")
        matrix, description = np.diag(1 / values), {}
    elif covariance is not None:
        matrix = checks.in_range("covariance", checks.finite_array("covariance", covariance))
        _width("covariance", matrix.shape, matrix.ndim == 2 and len(set(matrix.shape)) == 1, visible)
        if np.abs(matrix - matrix.T).max() > SYMMETRY_TOLERANCE * np.abs(matrix).max():
            raise checks.InputError(
                "covariance must be symmetric; pass (C + C.T)/2 if the difference is noise"
            )
        description = {}
    elif data is not None:
        samples = checks.in_range("data", checks.finite_array("data", data))
        _width("data", samples.shape, samples.ndim == 2, visible)
        matrix = samples.T @ samples / len(samples)
        digest = hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest()
        description = {"samples": len(samples), "sha256": digest}
    else:
        mass = checks.positive("mass", mass)
        size = 10 if visible is None else visible
        matrix = _ring_covariance(lattice_kappa(mass, size))
        description = {"mass": mass}
    kappa = _precision_eigenvalues(matrix, name)
    if kappa[-1] >= mu**2:
        raise checks.InputError(
            f"the target's largest precision {kappa[-1]:.6g} must lie below mu² = {mu**2:.6g}, or learning "
            f"has no fixed point; raise mu above {np.sqrt(kappa[-1]):.4g}"
        )
    numbers = [round(float(v), 12) for v in kappa]
    return Target(matrix, kappa, samples, {"target": name, **description, "kappa": numbers})


def _ring_covariance(kappa: np.ndarray) -> np.ndarray:
    """The circulant matrix on lattice sites whose inverse has these eigenvalues in the Fourier basis."""
    row = np.fft.ifft(1 / kappa).real
    size = len(kappa)
    return row[(np.arange(size)[None, :] - np.arange(size)[:, None]) % size]


def _precision_eigenvalues(covariance: np.ndarray, name: str) -> np.ndarray:
    values = np.linalg.eigvalsh(covariance)
    if values[0] <= 1e-12 * abs(values[-1]):
        remedy = "use more samples than components" if name == "data" else "its eigenvalues must be positive"
        raise checks.InputError(
            f"the covariance of the target must be positive definite, its smallest eigenvalue is "
            f"{values[0]:.3g}; {remedy}"
        )
    with np.errstate(over="ignore"):
        return checks.in_range("the target's precision", 1 / values[::-1])


def _width(name: str, shape: tuple, right_form: bool, visible: int | None) -> None:
    forms = {
        "kappa": "(visible,)",
        "covariance": "(visible, visible)",
        "data": "(samples, visible)",
    }
    if not right_form or (visible is not None and shape[-1] != visible):
        wanted = "" if visible is None else f" with visible = {visible}"
        raise checks.InputError(f"{name} must have shape {forms[name]}{wanted}, got {shape}")
