"""One self-contained HTML file about a run folder."""

from dysonjax.report.gather import Report, Table, gather
from dysonjax.report.page import render

__all__ = ["Report", "Table", "gather", "render"]
