"""Physical systems, one a file, each as pure functions of one network."""

from dysonjax.models.base import Model, Start, Update
from dysonjax.models.teacher_student import teacher_student

__all__ = ["Model", "Start", "Update", "teacher_student"]
