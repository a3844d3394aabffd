"""`dysonjax spikes`: an ensemble that learns a matrix of low rank out of noise, its outliers and overlaps."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from dysonjax import checks
from dysonjax.cli.common import EXECUTION, Execution, parse_values, speed, write_summary
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.training import Training, TrainingOptions, train

# The diagram of trainability: all of its three borders lie on this grid.
DEFAULTS = TrainingOptions(
    lr="0.00048828125:1:x2", batch_size="1", sigma_w="0.125:16:x2", seeds=8, steps=200, records="11",
    keep="overlaps-target",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Spikes:
    """Train networks W x against a teacher of low rank and follow its spikes out of the bulk of noise.

    Writes spikes.png/.pdf (outliers and overlaps beside the theory, times of emergence, the diagram of
    trainability in alpha/|B| and sigma_W with lines that have no free parameter), run.zarr (everything
    recorded) and summary.json. W has M x N entries and starts from N(0, sigma_W^2/M).
    """

    texts: ClassVar[dict[str, str]] = {
        "sigma-w": "Initial weight widths sigma_W: weights start from N(0, sigma_W^2/M).",
        "batch-size": "Mini-batch sizes |B|, samples.",
    }

    training: Training = DEFAULTS
    rows: int = 256
    """M: outputs, the rows of W."""
    columns: int = 64
    """N: inputs, the columns of W."""
    s: str = "1"
    """Strengths s of the teacher: a number, a list or a range."""
    profile: str = "1"
    """Singular values of the teacher in units of s, one a spike; equal ones make degenerate spikes."""
    epsilon: str = "0.25"
    """Standard deviation of the noise of one sample: a number, a list or a range; 0 for none."""
    noise: Literal["gradient", "label", "data"] = "gradient"
    """gradient: added to the exact mean gradient; label: fresh inputs, noisy labels; data: fresh inputs."""
    activation: Literal["identity", "tanh", "relu"] = "identity"
    """Activation of the outputs; theory is that of the identity."""
    blocks: str | None = None
    """Variances of the inputs, one for each of as many equal blocks, as a list; default: all 1."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble, models

        if self.training.optimizer != "sgd":
            raise checks.InputError(
                f"spikes are compared with the theory of plain gradient steps; for {self.training.optimizer} "
                "train dj.models.spiked_teacher in Python"
            )
        ensemble.one_device_per_core()
        strengths = parse_values("s", self.s)
        epsilon = parse_values("epsilon", self.epsilon, checks.finite)
        model = models.spiked_teacher(
            self.rows,
            self.columns,
            parse_values("profile", self.profile),
            s=strengths[0],
            epsilon=epsilon[0],
            noise=self.noise,
            activation=self.activation,
            blocks=() if self.blocks is None else parse_values("blocks", self.blocks),
        )
        scalars = {"s": strengths} if len(strengths) > 1 else {}
        scalars |= {"epsilon": epsilon} if len(epsilon) > 1 else {}
        done, folder = train(self, model, terminal, scalars=scalars)
        if folder is None:
            return {"command": "spikes", **done._asdict()}
        summary = {"command": "spikes", "out": str(folder), **done.summary}
        summary |= analyse(done.dataset, folder, terminal)
        write_summary(folder, summary)
        terminal.print(speed(summary))
        terminal.print(f"wrote {folder}/spikes.png, spikes.pdf, run.zarr, summary.json")
        return summary


def analyse(dataset, folder: Path, terminal: Terminal) -> dict:
    """Compare with theory, draw, and return the part of the summary that is about spikes."""
    from dysonjax.analysis import spikes
    from dysonjax.figures.spikes import spikes as draw
    from dysonjax.figures.style import save

    found = spikes.compare(dataset)
    save(draw(found, spikes.margin(dataset), spikes.caption(dataset)), folder, "spikes")
    deviation = spikes.deviations(found)
    rows = [
        [name, str(number["points"]), *(_percent(number[key]) for key in ("mean", "largest"))]
        for name, number in deviation.items()
    ]
    if rows:
        terminal.table("relative deviation from theory at 1.5 times the threshold and more",
                       ["", "points and records", "mean", "largest"], rows)  # fmt: skip
    border, emergence = spikes.border(dataset, found), spikes.emergence(found)
    if border is not None:
        terminal.print(
            f"trainability: measured and predicted borders within one grid step in {border['within']} of "
            f"{border['columns']} columns"
        )
    if emergence is not None:
        terminal.print(
            f"emergence: within one record of the predicted time for {emergence['within_one_record']} of "
            f"{emergence['points']} points"
        )
    return {
        "points": spikes.points(found),
        "deviation": deviation,
        "border": border,
        "emergence": emergence,
    }


def _percent(value) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{100 * value:.2f} %"
