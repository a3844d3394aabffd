"""RO-Crate 1.1: a folder of research data that says by itself what is in it and how it came about."""

import json
from typing import Any, NamedTuple

from dysonjax.export.about import LICENSES, NOBODY, About

PROFILE = "https://w3id.org/ro/crate/1.1"
NAME = "ro-crate-metadata.json"
FORMATS = {
    ".csv": "text/csv", ".json": "application/json", ".png": "image/png", ".pdf": "application/pdf",
    ".md": "text/markdown", ".cff": "text/yaml", ".sh": "text/x-shellscript", ".npz": "application/zip",
    ".txt": "text/plain", ".html": "text/html", ".nc": "application/x-netcdf",
}  # fmt: skip


class Part(NamedTuple):
    """A file of the crate; size None: a folder."""

    path: str
    about: str
    size: int | None
    sha256: str | None


class Made(NamedTuple):
    """A computation and what came of it."""

    name: str  # within the crate
    title: str
    command: str | None
    machine: dict[str, Any]  # hardware, seconds and versions, by names that are the same for the same value
    parts: list[Part]


def metadata(about: About, parts: list[Part], made: list[Made]) -> str:
    """The content of ro-crate-metadata.json. made: the computations behind the parts."""
    people = [
        {
            "@id": f"https://orcid.org/{a.orcid}" if a.orcid else f"#author-{i}",
            "@type": "Person",
            "name": f"{a.given} {a.family}",
            "familyName": a.family,
            "givenName": a.given,
        }
        for i, a in enumerate(about.authors, 1)
    ] or [{"@id": "#authors", "@type": "Organization", "name": NOBODY}]
    machine = {name: value for one in made for name, value in one.machine.items()}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": about.title,
        "description": about.description,
        "datePublished": about.created[:10],
        "license": {"@id": LICENSES[about.license]},
        "author": [{"@id": person["@id"]} for person in people],
        "hasPart": [{"@id": part.path} for part in parts],
        "mentions": [{"@id": f"#{one.name}"} for one in made],
    }
    actions = [
        {
            "@id": f"#{one.name}",
            "@type": "CreateAction",
            "name": f"Computation of {one.title}",
            "description": one.command or "computed by a program in Python; see run.zarr's configuration",
            "instrument": [{"@id": "#dysonjax"}],
            "agent": {"@id": people[0]["@id"]},
            "result": [{"@id": part.path} for part in one.parts],
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
            "object": [{"@id": f"#{name}"} for name in sorted(one.machine)],
        }
        for one in made
    ]
    software = {
        "@id": "#dysonjax",
        "@type": "SoftwareApplication",
        "name": "dysonjax",
        "version": about.version,
        "softwareVersion": about.version,
    }
    values = [
        {"@id": f"#{name}", "@type": "PropertyValue", "name": name.replace("_", " "), "value": _plain(value)}
        for name, value in sorted(machine.items())
    ]
    graph = [
        {
            "@id": NAME,
            "@type": "CreativeWork",
            "conformsTo": {"@id": PROFILE},
            "about": {"@id": "./"},
        },
        root,
        *(_entity(part) for part in parts),
        *actions,
        software,
        *values,
        *people,
        {"@id": LICENSES[about.license], "@type": "CreativeWork", "name": about.license},
    ]
    content = {"@context": f"{PROFILE}/context", "@graph": graph}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _entity(part: Part) -> dict[str, Any]:
    kind = "Dataset" if part.size is None else "File"
    found = {"@id": part.path, "@type": kind, "name": part.path, "description": part.about}
    if part.size is None:
        return found
    form = next(
        (f for ending, f in FORMATS.items() if part.path.endswith(ending)), "application/octet-stream"
    )
    return found | {"encodingFormat": form, "contentSize": str(part.size), "sha256": part.sha256}


def _plain(value):
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
