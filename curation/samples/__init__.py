"""The kinds of samples that a token pack can hold, one module each. What one is stands in curation/sample.py."""

from collections.abc import Mapping

from curation.sample import Kind
from curation.samples.tile import TileKind

KINDS: Mapping[str, Kind] = {"tile": TileKind()}
