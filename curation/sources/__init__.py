"""The ways to arrive, by name."""

from collections.abc import Mapping

from curation.source import Source
from curation.sources.folder import walk_folder

SOURCES: Mapping[str, Source] = {"folder": walk_folder}
