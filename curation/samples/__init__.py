"""The kinds of samples that a token pack can hold, one module each. What one is stands in curation/sample.py."""

from collections.abc import Mapping

from curation.sample import Kind
from curation.samples.clip import ClipKind
from curation.samples.slab import SlabKind
from curation.samples.tile import TileKind
from curation.samples.volume import VolumeKind

KINDS: Mapping[str, Kind] = {
    "tile": TileKind(),
    "slab": SlabKind(),
    "volume": VolumeKind(),
    "clip": ClipKind(),
}
