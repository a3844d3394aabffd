"""`dysonjax figure NAME`: reproduce one published figure."""

import dataclasses
import textwrap
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from dysonjax import __version__, files
from dysonjax.checks import InputError, positive_int
from dysonjax.cli.common import duration, write_json
from dysonjax.cli.terminal import Terminal

MOST_DPI = 2400  # of an image of ten inches, which then takes a gigabyte


@dataclasses.dataclass(frozen=True)
class Figure:
    """Reproduce one published figure: run its simulation, compare with theory, draw.

    Writes NAME.png, NAME.pdf, NAME.nc (the data behind the picture, for xarray.open_dataset), NAME.txt (the
    caption: parameters, seeds, fit results with errors) and NAME.json (summary, with every check against the
    theory line). Without --quick or --paper it takes a few minutes on two cores.
    """

    name: Annotated[str, tyro.conf.Positional] = ""
    """Which figure; --list names them, all makes one after the other, released those that have released
    numbers."""
    list: bool = False
    """List all figures with their sources and times, and stop."""
    quick: bool = False
    """Fewer networks: under a minute on two cores."""
    paper: bool = False
    """The published number of networks and steps."""
    run_dir: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Draw from this run folder instead of training, for figures that allow it."""
    released: Path | None = None
    """Folder with the released numbers of arXiv 2509.01349 and 2407.16427 (phase_maps.csv, noise_line.csv,
    teacher_student_spacings.csv): compare the figures that have them, with z-scores."""
    bare: bool = False
    """Leave the caption off the picture; NAME.txt holds it in any case."""
    dpi: int = 160
    """Dots per inch of the PNG."""
    out: Path = Path("runs/figures")
    """Folder for the files; it may hold other figures."""
    overwrite: bool = False
    """Replace the files of this figure in the output folder."""
    json: bool = False
    """Print the summary as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble, published

        if self.list:
            return _list(published.RECIPES, terminal)
        if not self.name:
            raise InputError("name a figure; dysonjax figure --list shows them")
        if self.quick and self.paper:
            raise InputError("choose one of --quick and --paper")
        if self.name == "released" and self.released is None:
            raise InputError("dysonjax figure released needs --released FOLDER, the numbers to compare with")
        recipes = self._recipes(published)
        for recipe in recipes:
            if self.run_dir is not None and recipe.draw is None:
                raise InputError(f"{recipe.name} draws from no run; leave out --run")
        positive_int("dpi", self.dpi, 20, MOST_DPI)
        if self.released is not None:
            published.released.check(self.released)
        ensemble.one_device_per_core()
        dataset = None if self.run_dir is None else ensemble.read(self.run_dir)
        for recipe in recipes:
            _claim(self.out, recipe.name, self.overwrite)
        summaries = [self._make(recipe, dataset, terminal) for recipe in recipes]
        many = self.name in ("all", "released")
        return {"command": "figure", "figures": summaries} if many else summaries[0]

    def _recipes(self, published) -> tuple:
        """The figures that the name means; of the released ones those that can be drawn from the run."""
        if self.name == "all":
            return published.RECIPES
        if self.name == "released":
            named = [published.get(name) for name in published.record.FIGURES]
            return tuple(recipe for recipe in named if self.run_dir is None or recipe.draw is not None)
        return (published.get(self.name),)

    def _make(self, recipe, dataset, terminal: Terminal) -> dict:
        scale = "quick" if self.quick else "paper" if self.paper else "default"
        begin = time.perf_counter()
        if dataset is not None:
            scale, made = "run", recipe.draw(dataset)
        else:
            terminal.print(
                f"{recipe.title} ({recipe.source}), {scale} statistics: about "
                f"{duration(recipe.seconds[scale])} on two cores"
            )
            with terminal.progress("training", "network-steps") as progress:
                made = recipe.make(scale, progress)
        return self._write(recipe, made, scale, time.perf_counter() - begin, terminal)

    def _write(self, recipe, made, scale: str, seconds: float, terminal: Terminal) -> dict:

        from dysonjax.ensemble import devices
        from dysonjax.export import figure_folder
        from dysonjax.figures.style import add_caption, save
        from dysonjax.published import former
        from dysonjax.published.recipe import value

        device = devices.named()
        caption = self._caption(recipe, made, scale, device)
        if not self.bare:
            add_caption(made.figure, caption)
        save(made.figure, self.out, recipe.name, self.dpi)
        data = former.with_former(recipe.name, made.data)
        data = data.assign_attrs(caption=caption, source=recipe.source)
        with files.aside(self.out / f"{recipe.name}.nc") as partial:
            data.to_netcdf(partial, engine="scipy")
        files.put(self.out / f"{recipe.name}.txt", "\n".join(textwrap.wrap(caption, 100)) + "\n")
        summary = {
            "command": "figure",
            "name": recipe.name,
            "source": recipe.source,
            "title": recipe.title,
            "scale": scale,
            "out": str(self.out),
            "files": [str(self.out / f"{recipe.name}{suffix}") for suffix in figure_folder.SUFFIXES],
            "caption": caption,
            "checks": checks_of(made),
            **{name: int(made.data.attrs[name]) for name in ("networks", "steps") if name in made.data.attrs},
            **self._against_released(recipe.name, made.data, terminal),
            "seconds": round(seconds, 2),
            "device": device,
            "version": __version__,
            "options": self._options(),
            "made_by": figure_folder.made_by(device),
            "sha256": figure_folder.hashes(self.out, recipe.name),
        }
        write_json(self.out / f"{recipe.name}.json", summary)
        terminal.table(
            "against the lines drawn",
            ["number", "measured", "expected", "z"],
            [[c.name, value(c), _expected(c), f"{c.z:+.1f}"] for c in made.checks],
        )
        terminal.print(f"wrote {self.out}/{recipe.name}.png, .pdf, .nc, .txt, .json in {duration(seconds)}")
        return summary

    def _caption(self, recipe, made, scale: str, device: str) -> str:
        how = f"drawn from {self.run_dir.resolve().name}" if self.run_dir is not None else f"made on {device}"
        return (
            f"{recipe.title} ({recipe.source}). {made.caption} Command: dysonjax figure {recipe.name}"
            f"{'' if scale in ('run', 'default') else f' --{scale}'}; {how}, dysonjax {__version__}."
        )

    def _options(self) -> dict:
        """What the summary keeps of the command, so that it can be repeated."""
        paths = {"run": self.run_dir, "released": self.released}
        found = {name: str(path.absolute()) for name, path in paths.items() if path is not None}
        return {**found, "bare": self.bare, "dpi": self.dpi}

    def _against_released(self, figure: str, data, terminal: Terminal) -> dict:
        """What the summary says about the released numbers, if they are given and this figure has any."""
        from dysonjax.published import record, released

        if self.released is None:
            return {}
        rows = record.rows(figure, data, self.released)
        terminal.table(
            "means over released points",
            ["quantity", "where", "points", "ours", "released", "z", "largest z", "verdict"],
            [
                [r.quantity, r.where, str(r.points), f"{r.ours:.4g} ± {r.ours_err:.2g}",
                 f"{r.released:.4g} ± {r.released_err:.2g}", f"{r.z:+.1f}", f"{r.largest_z:+.1f}", r.verdict]
                for r in rows
            ],
        )  # fmt: skip
        kept = {"rows": [row._asdict() for row in rows]} if rows else {}
        networks = int(data.attrs.get("networks", 0))
        points = released.compare(data, self.released, networks) if networks else []
        line = released.compare_line(data["noise_line"], self.released) if "noise_line" in data else []
        spacings = released.compare_spacings(data, self.released) if "shared_inputs" in data else []
        if spacings:
            z = np.array([row["z"] for row in spacings])
            terminal.print(
                f"mean spacings beside the released ones, {len(z)} rows: z {z.mean():+.2f} on average, "
                f"scatter {z.std():.2f}, largest {z[np.argmax(np.abs(z))]:+.1f}"
            )
            return {"released": {"spacings": spacings, **kept}}
        if not points and not line:
            terminal.print("none of the released numbers has a counterpart in this figure")
            return {}
        terminal.table(
            "beside the released numbers",
            ["quantity", "points", "median z", "|z| < 3", "median difference", "largest z", "at 1/σ_W, T"],
            [
                [s.quantity, str(s.points), f"{s.median_z:+.1f}", f"{100 * s.within_3:.0f} %",
                 f"{s.median_difference:+.3g}", f"{s.largest.z:+.1f}",
                 f"{s.largest.inverse_sigma_w:g}, {s.largest.temperature:g}"]
                for s in released.summarise(points)
            ],
        )  # fmt: skip
        ratios = released.log2_ratios(line)
        if line:
            terminal.print(released.line_sentence(line))
        return {
            "released": {
                "points": [c._asdict() for c in points],
                "noise_line": [
                    {"inverse_sigma_w": w, "temperature": _number(ours), "released": theirs}
                    for w, ours, theirs in line
                ],
                **kept,
                "noise_line_median_log2_ratio": _number(np.median(ratios)) if len(ratios) else None,
            }
        }


def checks_of(made) -> list[dict]:
    """The checks of a figure that has been made, as its summary holds them."""
    return [
        {**{k: _number(v) for k, v in dataclasses.asdict(check).items()}, "z": _number(check.z)}
        for check in made.checks
    ]


def _claim(folder: Path, name: str, overwrite: bool) -> None:
    """Make the folder; raises InputError if it holds this figure already or cannot be written."""
    from dysonjax.export.figure_folder import SUFFIXES

    existing = [folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").exists()]
    if existing and not overwrite:
        raise InputError(
            f"{existing[0]} exists already; choose another --out or pass --overwrite to replace it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{name}.writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"the output folder {folder} cannot be written: {error.strerror}") from None


def _list(recipes, terminal: Terminal) -> dict:
    terminal.table(
        "published figures",
        ["name", "source", "what it shows", "--quick", "default", "--paper"],
        [[r.name, r.source, r.title, *(duration(r.seconds[s]) for s in ("quick", "default", "paper"))]
         for r in recipes],
    )  # fmt: skip
    terminal.print("[A] arXiv 2411.13512, [B] arXiv 2412.20496, [C] lecture slides, later arXiv 2509.01349")
    return {
        "command": "figure",
        "figures": [
            {
                "name": r.name,
                "source": r.source,
                "title": r.title,
                "command": f"dysonjax figure {r.name}",
                "seconds": dict(r.seconds),
            }
            for r in recipes
        ],
    }


def _expected(check) -> str:
    if not check.systematic:
        return f"{check.expected:.4g}"
    return f"{check.expected:.4g} ± {check.systematic:.2g} (theory)"


def _number(value):
    """JSON has no NaN; NumPy scalars become plain ones."""
    if isinstance(value, str):
        return value
    return float(value) if value == value and abs(value) != float("inf") else None
