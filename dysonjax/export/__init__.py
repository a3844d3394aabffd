"""A run as one publishes it: tables, metadata, and what it takes to make it again."""

from dysonjax.export.authors import Author, author
from dysonjax.export.write import Export, export

__all__ = ["Author", "Export", "author", "export"]
