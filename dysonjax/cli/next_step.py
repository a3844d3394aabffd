"""What to do after a command, in one line."""

import shlex
from pathlib import Path

# Commands that leave a run folder.
RUNS = ("phase-diagram", "rbm", "linear", "spikes", "nanogpt", "resume", "merge", "dyson", "compare")


def sentence(name: str, summary: dict) -> str | None:
    """The line, or None where there is nothing sensible to do."""
    out = summary.get("out")
    place = None if out is None else shlex.quote(str(out))
    if name == "spectrum" and place is not None:
        return f"next: open {place}/report.html in a browser"
    if name in RUNS:
        if place is None:  # a dry run
            return "next: the same command without --dry-run"
        return f"next: dysonjax report {place}"
    if name == "report" and place is not None:
        return f"next: open {place} in a browser"
    if name == "verify" and out is not None:
        exported = (Path(out) / "ro-crate-metadata.json").exists()
        if summary.get("equal") and exported and "figures" in summary:
            return None
        if summary.get("equal") and exported:
            return f"next: dysonjax report {place}"  # it has been exported already
        return f"next: dysonjax {'export' if summary.get('equal') else 'info'} {place}"
    if name == "export" and place is not None:
        return f"next: read {place}/README.md, then upload the folder where you publish data"
    if name == "watch" and place is not None:
        return f"next: dysonjax report {place}"
    if name == "info" and summary.get("of") == "figure":
        return f"next: dysonjax verify {place}"
    if name == "info" and place is not None:
        return f"next: dysonjax {'report' if summary.get('finished') else 'resume'} {place}"
    if name == "advise":
        return "next: train with a learning rate and a width that are predicted to converge"
    if name == "doctor":
        return "next: dysonjax phase-diagram" if summary.get("healthy") else "next: mend what is named above"
    if name == "bench":
        return "next: dysonjax bench NAME --members 64,1000 measures how time and memory grow"
    if name == "figure" and place is not None:
        return (
            f"next: look at {place}/{summary['name']}.png; {summary['name']}.nc holds its numbers, and "
            f"dysonjax export {place} writes all for publication"
        )
    if name == "figure":
        made = [figure for figure in summary.get("figures", []) if "checks" in figure]
        return "next: look at the .png files" if made else "next: dysonjax figure NAME --quick"
    return None
