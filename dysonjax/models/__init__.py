"""Physical systems, one a file, each as pure functions of one network."""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.models import predictions, rbm_fluctuations
    from dysonjax.models.base import Hyperparameter, Model, Start, Update
    from dysonjax.models.flax_model import wrap_flax
    from dysonjax.models.langevin import elementwise_langevin
    from dysonjax.models.linear import linear
    from dysonjax.models.nanogpt import nanogpt
    from dysonjax.models.rbm import rbm
    from dysonjax.models.spiked_teacher import spiked_teacher
    from dysonjax.models.teacher_student import teacher_student

__all__ = [
    "Hyperparameter",
    "Model",
    "Start",
    "Update",
    "elementwise_langevin",
    "linear",
    "nanogpt",
    "predictions",
    "rbm",
    "rbm_fluctuations",
    "spiked_teacher",
    "teacher_student",
    "wrap_flax",
]

lazy.attach(__name__)
