"""Tables of what `dysonjax spectrum` calls matrices whose nature is known (`benchmarks/verdicts.py`)."""

import measured
from measured import load, table


def verdicts(part: str) -> list[dict]:
    return load(measured.VERDICTS)[part]


def noise_verdicts() -> str:
    """What noise of each shape is called."""
    heads, columns = (
        ["matrices"],
        [["spectra", "with spikes", "heavy tail", "not described", "**not noise**"]],
    )
    for row in verdicts("noise"):
        ensemble = f"{row['members']} of " if row["members"] > 1 else ""
        heads.append(f"{ensemble}{row['rows']}×{row['modes']}")
        kinds = shares(row, "spikes", "heavy tail", "not described")
        columns.append([str(row["count"]), *kinds, share(row["count"] - row["words"]["noise"], row["count"])])
    return table(heads, list(zip(*columns, strict=True)))


def entry_verdicts() -> str:
    """What matrices of independent entries are called, without and with shuffled matrices."""
    rows = []
    for row in verdicts("entries"):
        words = shares(row, "noise", "spikes", "heavy tail", "not described")
        shuffled = shares({**row, "words": row["full"]}, "spikes", "noise with large entries")
        rows.append([row["entries"], times(row["shape"]), *words, *shuffled])
    heads = ["entries", "shape", "noise", "with spikes", "heavy tail", "not described"]
    return table([*heads, "shuffled: with spikes", "shuffled: large entries"], rows)


def spike_verdicts() -> str:
    """How often the planted number of spikes is the one that is found."""
    rows = []
    for row in verdicts("spikes"):
        planted, words = row["strengths"], row["words"]
        right = f"noise with {len(planted)} spike{'s' if len(planted) > 1 else ''}"
        other = sum(n for word, n in words.items() if word.startswith("noise with ") and word != right)
        found = shares({**row, "words": {**words, "other": other}}, right, "other", "noise", "not described")
        rows.append(
            [times(row["shape"]), ", ".join(f"{one:g}" for one in planted), str(row["count"]), *found]
        )
    heads = ["shape", "strengths, θ/θ_c", "matrices", "right number", "another number", "noise"]
    return table([*heads, "not described"], rows)


def tail_verdicts() -> str:
    """What levels without a bulk are called."""
    words = ("heavy tail", "not described", "noise", "spikes")
    rows = [[row["levels"], str(row["count"]), *shares(row, *words)] for row in verdicts("tails")]
    return table(["levels", "spectra", "heavy tail", "not described", "noise", "with spikes"], rows)


def shares(row: dict, *words: str) -> list[str]:
    """Of the words of a row; "spikes" are any number of them."""
    spikes = sum(n for word, n in row["words"].items() if word.endswith((" spike", " spikes")))
    counts = {"spikes": spikes, **row["words"]}
    return [share(counts.get(word, 0), row["count"]) for word in words]


def share(count: int, total: int) -> str:
    """Percent with its standard error, that of one more of either kind, so that 0 has one too."""
    p = (count + 1) / (total + 2)
    return f"{100 * count / total:.1f} ± {100 * (p * (1 - p) / total) ** 0.5:.1f} %"


def times(shape: list[int]) -> str:
    return "×".join(map(str, shape))
