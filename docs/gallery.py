"""Write `gallery.md`: every figure that `dysonjax figure` makes, with its picture and its command.

`python docs/gallery.py` renews the page after a figure was added.
"""

from pathlib import Path

from dysonjax.published import RECIPES

DOCS = Path(__file__).parent
GROUPS = {
    "rbm": "Gaussian RBM",
    "linear": "Linear network",
    "mp": "Initialisation",
    "phase": "Phases of a teacher and its students",
    "spikes": "Spikes",
    "gpt": "Transformer",
}
OTHERS = "Further figures"
HEAD = """# Gallery

Every figure, with its command. With `--quick` it takes about the time that is given, on two idle cores.
Without it there are more networks, with `--paper` as many as were published. The page of the
[published figures](figures.md) says what each one shows, and how far it agrees with its source. The maps
over the phase diagram and its singular values are shown at the published size: `dysonjax phase-diagram
--preset paper --out runs/paper`, then `dysonjax figure NAME --run runs/paper`.
"""


def page() -> str:
    """The text of the page."""
    groups: dict[str, list[str]] = {name: [] for name in (*GROUPS.values(), OTHERS)}
    for recipe in RECIPES:
        groups[GROUPS.get(recipe.name.split("-")[0], OTHERS)].append(_entry(recipe))
    parts = [f"## {title}\n\n" + "\n".join(entries) for title, entries in groups.items() if entries]
    return "\n".join([HEAD, *parts])


def _entry(recipe) -> str:
    name = recipe.name
    places = (f"images/figures/{name}.png", f"images/{name}.png")
    found = next((place for place in places if (DOCS / place).exists()), None)
    picture = "" if found is None else f"![{recipe.title}]({found})\n\n"
    seconds = recipe.seconds["quick"]
    time = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"### {recipe.title}\n\n{picture}```sh\ndysonjax figure {name} --quick   # {time}\n```\n"


if __name__ == "__main__":
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")
