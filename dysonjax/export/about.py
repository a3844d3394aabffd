"""What is said about a run in the words of archives: CF and ACDD, citation, Zenodo."""

import datetime
import html
import json
from typing import Any, NamedTuple

from dysonjax.export.authors import Author

LICENSES = {  # SPDX name: where it is written
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "MIT": "https://opensource.org/license/mit",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
}
KEYWORDS = ("random matrix theory", "Dyson Brownian motion", "stochastic gradient descent", "neural networks")
SOURCES = ("2407.16427", "2411.13512", "2412.20496", "2509.01349")  # on arXiv, whose physics is computed
NOBODY = "The authors of this run"  # stands where none were given


class About(NamedTuple):
    """A run in words."""

    title: str
    description: str
    authors: list[Author]
    license: str  # a name of `LICENSES`
    created: str  # ISO 8601, UTC
    command: str | None
    version: str  # of dysonjax, that made the run


def now() -> str:
    """In UTC, as `About.created`."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()


def one_line(title: str) -> str:
    """A title as it can stand in comments of scripts and in headings."""
    return " ".join("".join(c if c.isprintable() else " " for c in title).split())


def names(about: About) -> list[str]:
    return [f"{a.given} {a.family}" for a in about.authors] or [NOBODY]


def attributes(about: About) -> dict[str, Any]:
    """Global attributes of a store: the CF conventions and the Attribute Convention for Data Discovery."""
    line = f"{about.created}: exported by dysonjax {about.version}"
    history = [line] if about.command is None else [f"computed by: {about.command}", line]
    return {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": about.title,
        "summary_text": about.description,  # `summary` is what the run itself says, as JSON
        "keywords": ", ".join(KEYWORDS),
        "source": f"dysonjax {about.version}",
        "history": "\n".join(history),
        "references": ", ".join(f"arXiv:{source}" for source in SOURCES),
        "creator_name": ", ".join(names(about)),
        "license": LICENSES[about.license],
        "date_created": about.created,
        "product_version": about.version,
    }


def citation(about: About) -> str:
    """CITATION.cff: YAML, every text of which is written as JSON, which YAML reads too."""
    lines = [
        "cff-version: 1.2.0",
        'message: "If you use these data, please cite them and the software that made them."',
        "type: dataset",
        f"title: {_quoted(about.title)}",
        f"abstract: {_quoted(about.description)}",
        f"license: {about.license}",
        f"date-released: {_quoted(about.created[:10])}",
        f"keywords: {_quoted(list(KEYWORDS))}",
        "authors:",
    ]
    for author in about.authors:
        lines.append(f"  - family-names: {_quoted(author.family)}")
        lines.append(f"    given-names: {_quoted(author.given)}")
        lines += [f"    orcid: {_quoted(f'https://orcid.org/{author.orcid}')}"] if author.orcid else []
    if not about.authors:
        lines.append(f"  - name: {_quoted(NOBODY)}")
    lines += [
        "references:",
        "  - type: software",
        '    title: "dysonjax"',
        f"    version: {_quoted(about.version)}",
        "    authors:",
        '      - name: "The dysonjax developers"',
    ]
    return "\n".join(lines) + "\n"


def zenodo(about: About) -> str:
    """.zenodo.json, by which Zenodo fills in its form."""
    creators = [
        {"name": f"{a.family}, {a.given}"} | ({"orcid": a.orcid} if a.orcid else {}) for a in about.authors
    ]
    content = {
        "title": about.title,
        "upload_type": "dataset",
        "description": f"<p>{html.escape(about.description)}</p>",
        "creators": creators or [{"name": NOBODY}],
        "license": about.license.lower(),
        "access_right": "open",
        "keywords": list(KEYWORDS),
        "version": about.version,
        "related_identifiers": [
            {"identifier": f"arXiv:{source}", "relation": "references", "scheme": "arxiv"}
            for source in SOURCES
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _quoted(value) -> str:
    return json.dumps(value, ensure_ascii=False)
