"""`dysonjax nanogpt`: an ensemble of small transformers and the spectra of their attention matrices."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from dysonjax.cli.common import EXECUTION, Execution, draw, speed, write_summary
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.training import Training, TrainingOptions, train

DEFAULTS = TrainingOptions(
    lr="0.001", batch_size="16", sigma_w="1", seeds=16, steps=5000, records="6",
    optimizer="adamw",
)  # fmt: skip
SYMBOLS = {"key": r"$K^TK$", "query": r"$Q^TQ$", "value": r"$V^TV$"}


@dataclasses.dataclass(frozen=True)
class NanoGpt:
    """Train character-level transformers and follow the spectra of their attention matrices.

    Writes nanogpt.png/.pdf (losses, final density, Marchenko-Pastur area and width of every layer),
    sample.txt (text by the first network), run.zarr (everything recorded) and summary.json. Levels are
    eigenvalues of X = W^T W for every key, query and value matrix. The defaults are the published model and
    optimiser; sigma_w multiplies its initial weights, uniform in ±1/sqrt(n_in).
    """

    texts: ClassVar[dict[str, str]] = {
        "sigma-w": "Factors sigma_W of the initial weights, which are uniform in ±1/sqrt(n_in).",
        "batch-size": "Mini-batch sizes |B|, pieces of text.",
    }

    training: Training = DEFAULTS
    text: str = "python-topics"
    """A UTF-8 file, tinyshakespeare (downloaded once), or python-topics: English that Python itself ships."""
    width: int = 64
    """Components of a token; a multiple of the heads."""
    heads: int = 4
    """Attention heads of each layer."""
    layers: int = 4
    """Blocks of attention and MLP."""
    context: int = 32
    """Characters that the network sees at once."""
    vocabulary: int | None = None
    """Largest number of different characters; rarer ones become one. Default: keep all."""
    line_ends: Literal["plain", "kept"] = "plain"
    """plain: those of Windows are read as plain ones; kept: the carriage return is a character."""
    dropout: float = 0.0
    """Probability with which activations are dropped in training."""
    matrices: Literal["attention", "all"] = "attention"
    """Whose spectra are recorded; all: also projections, MLPs and output."""
    kind: Literal["key", "query", "value"] = "key"
    """Matrices that summary and figure speak of."""
    sample: int = 400
    """Characters of the text sample; 0 for none."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import checks, ensemble, models
        from dysonjax.analysis import attention

        checks.one_of("kind", self.kind, attention.KINDS)
        checks.positive_int("sample", self.sample, 0)
        ensemble.one_device_per_core()
        sizes = ("width", "heads", "layers", "context", "vocabulary", "dropout", "matrices", "line_ends")
        model = models.nanogpt(self.text, **{name: getattr(self, name) for name in sizes})
        # A run folder must find its text again, wherever the command is repeated.
        command = dataclasses.replace(self, text=str(Path(self.text).absolute())) if _is_file(self) else self
        result, folder = train(command, model, terminal)
        if folder is None:
            return {"command": "nanogpt", **result._asdict()}
        terminal.print("fitting spectra ...")
        summary = {
            "command": "nanogpt",
            "out": str(folder),
            **result.summary,
            "params": model.config["parameters"],
            "text": model.config["text"],
            "text_sha256": model.config["text_sha256"],
            "vocabulary": len(model.config["vocabulary"]),
            "records": result.dataset["record"].values.tolist(),
            **attention.summarise(result.dataset, self.kind),
        }
        summary["sample"] = self._sample(model, result.example, folder)
        write_summary(folder, summary)
        draw(terminal, folder, "nanogpt", lambda: self._figure(result.dataset))
        _report(summary, terminal)
        return summary

    def _sample(self, model, params, folder: Path) -> str | None:
        """Text written by the first network that is alive, also as a file; None if all diverged."""
        from dysonjax import files, threefry
        from dysonjax.models.nanogpt import write

        if params is None or self.sample == 0:
            return None
        text = write(model.config, params, self.sample, threefry.root(self.execution.seed))
        files.put(folder / "sample.txt", text)
        return text

    def _figure(self, dataset):
        """The figure shows the last grid point."""
        from dysonjax.analysis import attention
        from dysonjax.figures.attention import Course, Spectrum, run_figure

        *_, (_, point) = attention.points(dataset)
        fits = attention.marchenko_pastur(point, self.kind)
        levels = attention.levels(point, 1, kind=self.kind)
        last, first_layer = None, fits.isel(layer=0, record=-1)
        if np.isfinite(first_layer["area"]):
            sigma2, area = (float(first_layer[name]) for name in ("sigma2", "area"))
            last = Spectrum(
                int(point["record"][-1]), levels.reshape(len(levels), -1), sigma2, area, 1 / self.heads
            )
        alive = point.where(point["alive"]).mean("seed")
        return run_figure(
            fits["record"].values,
            alive["train_loss"].values,
            alive["val_loss"].values,
            last,
            Course(fits["area"].values, fits["area_err"].values),
            Course(fits["sigma2"].values, fits["sigma2_err"].values),
            SYMBOLS[self.kind],
        )


def _is_file(command: NanoGpt) -> bool:
    return Path(command.text).is_file()


def _report(summary: dict, terminal: Terminal) -> None:
    """Tables of the last record for the first grid points, and the text."""
    for index, point in enumerate(summary["points"][:4]):
        rows = []
        for layer in range(len(summary["mp_area"][index])):
            rows.append(
                [
                    str(layer + 1),
                    _with_error(summary, "mp_sigma2", index, layer, -1),
                    _with_error(summary, "mp_area", index, layer, -1),
                    _number(summary["mp_p"][index][layer][-1], ".2g"),
                    _with_error(summary, "mp_common_area", index, layer, -1),
                    _number(summary["mp_common_p"][index][layer][-1], ".2g"),
                    _with_error(summary, "tail_alpha", index, layer),
                    _number(summary["tail_p"][index][layer], ".2g"),
                ]
            )
        title = ", ".join(f"{name} = {value:g}" for name, value in point.items())
        loss = _number(summary["val_loss"][index][-1], ".3f")
        terminal.table(
            f"{summary['matrix']} matrices, {title}: validation loss {loss}",
            ["layer", "sigma^2", "area A", "p", "A at common scale", "p", "tail exponent", "p of the tail"],
            rows,
        )
        for layer, notes in enumerate(summary["mp_note"][index]):
            if notes[-1]:
                terminal.print(f"layer {layer + 1}: {notes[-1]}")
    if len(summary["points"]) > 4:
        terminal.print(f"... and {len(summary['points']) - 4} more points in summary.json")
    if summary["sample"]:
        terminal.print(f"text by the first network:\n{summary['sample']}\n")
    terminal.print(f"{summary['params']} parameters; {speed(summary)}")
    terminal.print(f"wrote {summary['out']}/nanogpt.png, nanogpt.pdf, sample.txt, run.zarr, summary.json")


def _with_error(summary: dict, name: str, *place: int) -> str:
    value, error = summary[name], summary[f"{name}_error"]
    for index in place:
        value, error = value[index], error[index]
    return "-" if value is None or error is None else f"{value:.3f} ± {error:.3f}"


def _number(value, form: str) -> str:
    return "-" if value is None else format(value, form)
