"""Tables of a report: columns of numbers or text, from the dataset, the summary and the options."""

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax.spectra.averages import mean_and_sem

MAX_ROWS = 2000  # more would make a page that a phone cannot scroll
SKIP = ("alive", "diverged_at")
# What `pairs.summarise` wrote: lists over points, then over levels or pairs.
LEVEL_KEYS = (
    "points", "levels_mean", "levels_sem", "targets", "pairs", "spacing_mean", "spacing_sem",
    "spacing_theory", "sigma_from_spacing", "sigma_from_density", "sigma_from_density_error", "binder",
    "binder_error",
)  # fmt: skip


class Table(NamedTuple):
    """Rows of cells. A cell is text or a number, or (number, error)."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    note: str = ""


def of_points(dataset: xr.Dataset) -> Table:
    """One row a grid point: its hyperparameters and the mean ± standard error of every observable over seeds,
    at the last record that has been reached there."""
    dims = [str(dim) for dim in dataset["train_loss"].dims if dim not in ("seed", "record")]
    names = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if set(variable.dims) == {*dims, "seed", "record"} and name not in SKIP
    ]
    stacked = dataset.stack(point=dims) if dims else dataset.expand_dims("point")
    losses = stacked["train_loss"].transpose("point", "record", "seed").values
    reached = np.isfinite(losses).any(axis=-1)
    last = np.where(reached.any(axis=-1), reached.shape[1] - 1 - np.argmax(reached[:, ::-1], axis=-1), -1)
    alive = stacked["alive"].transpose("point", "record", "seed").values
    diverged = (stacked["diverged_at"].transpose("point", "seed").values >= 0).sum(axis=-1)
    values = {name: stacked[name].transpose("point", "record", "seed").values for name in names}
    rows = []
    for index in range(len(last))[:MAX_ROWS]:
        row: list[Any] = [float(stacked[dim].values[index]) for dim in dims]
        row += [int(diverged[index])]
        if last[index] < 0:
            rows.append(row + ["not yet"] + [""] * len(names))
            continue
        row.append(int(dataset["record"][last[index]]))
        used = alive[index, last[index]]
        row += [_mean(values[name][index, last[index]][used]) for name in names]
        rows.append(row)
    notes = [f"{name}: {dataset[name].attrs.get('long_name', '')}" for name in names]
    note = "Mean ± standard error over the seeds that are alive. " + "; ".join(notes) + "."
    if len(last) > MAX_ROWS:
        note += f" The first {MAX_ROWS} of {len(last)} points."
    return Table("grid points", [*dims, "diverged", "step", *names], rows, note)


def _mean(values: np.ndarray):
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return ""
    mean, error = mean_and_sem(values)
    return float(mean), float(error)


def of_summary(summary: dict) -> list[Table]:
    """Everything else that a command found: one table for its single numbers, one for all lists of the same
    length, one for each record."""
    single: list[list] = []
    lists: dict[int, dict[str, list]] = {}
    tables = _levels(summary)
    skip = {"command", "out", "verdict", "notes", *(LEVEL_KEYS if tables else ())}
    for name, value in _with_errors({k: v for k, v in summary.items() if k not in skip}).items():
        title = name.replace("_", " ")
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            tables += _nested(title, value)
        elif isinstance(value, list) and value:
            lists.setdefault(len(value), {})[title] = [_plain(item) for item in value]
        elif value is not None and not isinstance(value, list):
            single.append([title, value])
    for length, columns in lists.items():
        rows = [[i, *row] for i, row in enumerate(zip(*columns.values(), strict=True))]
        title = next(iter(columns)) if len(columns) == 1 else f"lists of {length}"
        tables.append(Table(title, ["index", *columns], rows))
    return [*([Table("summary", ["quantity", "value"], single)] if single else []), *tables]


def _with_errors(content: dict) -> dict:
    """The same with `x_mean` and `x_sem` (or `x` and `x_error`) of one shape joined into (value, error)."""
    joined = dict(content)
    for name in content:
        for suffix in ("_sem", "_error", "_err"):
            base = name.removesuffix(suffix)
            value = next((v for v in (base, f"{base}_mean") if v in content), None)
            if base != name and value is not None:
                both = _join(content[value], content[name])
                if both is not None:
                    joined[value] = both
                    joined.pop(name, None)
    return joined


def _join(value, error):
    if isinstance(value, dict) and isinstance(error, dict) and value.keys() == error.keys():
        parts = {k: _join(value[k], error[k]) for k in value}
        return None if any(part is None for part in parts.values()) else parts
    if isinstance(value, list) and isinstance(error, list) and len(value) == len(error):
        joined = [_join(v, e) for v, e in zip(value, error, strict=True)]
        return None if any(part is None for part in joined) else joined
    if isinstance(value, int | float) and isinstance(error, int | float):
        return value, error
    return None


def _levels(summary: dict) -> list[Table]:
    """Levels, and degenerate pairs against theory: one row a level or pair at each grid point."""
    if not all(name in summary for name in LEVEL_KEYS):
        return []
    names = list(summary["points"][0])
    levels, pairs = [], []
    for p, point in enumerate(summary["points"]):
        values = [point[name] for name in names]
        for i, target in enumerate(summary["targets"]):
            levels.append([*values, i, target, _measured(summary, "levels_mean", "levels_sem", p, i)])
        for j, i in enumerate(summary["pairs"]):
            spacing = _measured(summary, "spacing_mean", "spacing_sem", p, i)
            theory = summary["spacing_theory"][p][i]
            z = "" if not spacing or theory is None else (spacing[0] - theory) / spacing[1]
            density = _measured(summary, "sigma_from_density", "sigma_from_density_error", p, j)
            binder = _measured(summary, "binder", "binder_error", p, j)
            sigma = summary["sigma_from_spacing"][p][j]
            target = summary["targets"][i]
            pairs.append([*values, target, spacing, theory, z, sigma, density, binder])
    columns = [*names, "target", "mean spacing", "theory", "z", "σ from spacing", "σ from density", "U₄"]
    note = "Theory: an isolated pair. U₄ of the two-mode density is −4/27 = −0.148."
    tables = [Table("degenerate pairs", columns, pairs, note)] if pairs else []
    return [*tables, Table("levels", [*names, "level", "target", "mean"], levels)]


def _measured(summary: dict, name: str, error: str, point: int, index: int):
    """(value, error) of an entry, empty where there is none."""
    value, sem = summary[name][point][index], summary[error][point][index]
    return "" if value is None or not sem else (value, sem)


def _nested(title: str, value) -> list[Table]:
    """A table of what JSON nests: records in a list, columns in a record, or both deeper down."""
    if isinstance(value, list):
        names = list(dict.fromkeys(name for item in value for name in item))
        return [Table(title, names, [[_plain(item.get(name, "")) for name in names] for item in value])]
    value = _with_errors(value)
    columns = {k: v for k, v in value.items() if isinstance(v, list) and v}
    deeper = {k: v for k, v in value.items() if isinstance(v, dict)}
    rows = [[k, _plain(v)] for k, v in value.items() if k not in columns and k not in deeper]
    tables = [Table(title, ["quantity", "value"], rows)] if rows else []
    if columns and len({len(v) for v in columns.values()}) == 1:
        cells = zip(*columns.values(), strict=True)
        tables.append(Table(title, list(columns), [[_plain(cell) for cell in row] for row in cells]))
    else:
        tables += [Table(f"{title}: {k}", ["value"], [[_plain(x)] for x in v]) for k, v in columns.items()]
    for name, inner in deeper.items():
        tables += _nested(f"{title}: {str(name).replace('_', ' ')}", inner)
    return tables


def _plain(value):
    """A number or text as it is; (value, error) too; anything nested as short text."""
    if isinstance(value, list):
        return ", ".join(f"{x:.4g}" if isinstance(x, float) else str(_plain(x)) for x in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def of_options(options: dict, dataset: xr.Dataset | None) -> list[Table]:
    """The options of the command and the complete configuration that is stored with the results."""
    tables = []
    if options:
        tables.append(Table("options of the command", ["option", "value"], _flat(options.get("options", {}))))
    if dataset is not None:
        config = json.loads(dataset.attrs.get("config", "{}"))
        tables.append(Table("configuration", ["setting", "value"], _flat(config)))
        versions = json.loads(dataset.attrs.get("versions", "{}"))
        tables.append(Table("versions", ["library", "version"], [[k, v] for k, v in versions.items()]))
    return tables


def _flat(content: dict, prefix: str = "") -> list[list]:
    rows = []
    for name, value in content.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            rows.append([f"{prefix}{name}", "default" if text is None else str(text)])
    return rows
