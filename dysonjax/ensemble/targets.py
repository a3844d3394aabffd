"""The ways to run a step, in the order in which they are asked; a new one is a file and an entry here."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from dysonjax.checks import InputError
from dysonjax.ensemble import cuda, lanes, whole, xla
from dysonjax.ensemble.contract import Refused, Target, Task

TARGETS = (cuda.TARGET, lanes.TARGET, whole.TARGET, xla.TARGET)
BACKENDS = ("auto", *dict.fromkeys(target.backend for target in TARGETS))
REPORT = "please report this"

Made = TypeVar("Made")


def first(
    task: Task, backend: str, make: Callable[[Target], Made], refused: Mapping[str, str]
) -> tuple[Target, Made, dict[str, str]]:
    """The first target of a backend that does not refuse a task, what `make` makes of it, and the reasons of
    those before it by name.

    make: lowers the task for a target, may raise Refused. refused: targets that are not to be asked again.
    Raises InputError if all refuse, and what XLA raises: that is the model's own fault.
    """
    reasons, mistake = dict(refused), None
    for target in TARGETS:
        if backend not in ("auto", target.backend) or target.name in reasons:
            continue
        if backend == "auto" and not target.meant_for(task.devices[0]):
            continue
        reason = target.refuses(task)
        if reason is None:
            try:
                return target, make(target), reasons
            except Refused as error:
                reason = str(error)
            except Exception as error:
                if target is TARGETS[-1]:
                    raise
                mistake = error
                reason = f"the step could not be written in C ({type(error).__name__}: {error}); {REPORT}"
        reasons[target.name] = reason
    if mistake is not None:
        raise mistake
    raise InputError(
        f"the {backend} backend cannot train the model {task.model.name}: {sentence(reasons)}; "
        "use backend='auto'"
    )


def sentence(reasons: Mapping[str, str]) -> str:
    """The reasons of the targets that refused, each as the end of a sentence."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
