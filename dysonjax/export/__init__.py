"""A run, or figures, as one publishes them: tables, metadata, and what it takes to make them again."""

from dysonjax.export.authors import Author, author
from dysonjax.export.figures import export_figures
from dysonjax.export.folder import Export
from dysonjax.export.write import export

__all__ = ["Author", "Export", "author", "export", "export_figures"]
