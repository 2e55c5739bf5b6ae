"""`model` of a TuneSpec: which backbone, whose code may run, and what it sees of a series.

What belongs here: those keys and their defaults. What does not: the other groups, loading and errors (spec), what a pack makes of
them (curation.pack_recipe). Loads without torch.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.pack_recipe import PackRecipe
from curation.records import ConfigurationError


class Part(BaseModel):
    """A group of keys: unknown ones are errors, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Input(Part):
    """What the backbone sees of one series."""

    kind: Literal["tile", "slab", "volume", "clip"] = Field(
        default="tile",
        description="tile: slices; slab: slices with their neighbours as channels; volume: the whole stack, for 3-D "
        "encoders; clip: frames of a cine, evenly in time.",
    )
    size: int = Field(default=224, ge=16, le=1024, description="Height and width of a tile, px.")
    tiles: int = Field(
        default=1, ge=1, le=64, description="Tiles, slabs or frames a series; their features are averaged."
    )
    color: Literal["luma", "rgb"] = Field(default="luma", description="rgb keeps colour (tile, clip).")
    bits: Literal[8, 16] = Field(default=8, description="16 keeps the depth of a detector, such as MG.")
    levels: Literal["window", "equalised"] = Field(
        default="window",
        description="equalised: a grey level says its rank within the frame, whatever exposure or maker made of it; not HU.",
    )
    window: str | tuple[float, float] | None = Field(
        default=None,
        description="What black and white are, for every series: a name ('soft tissue', 'lung', 'bone', 'brain' of CT) or "
        "[black, white] in the values' unit; nothing: the default of modality and body part. Not for volumes.",
    )
    gap: int = Field(default=1, ge=1, le=64, description="slab: its channels are so many slices apart.")
    depth: int | None = Field(
        default=None, ge=2, le=1024, description="volume: slices; nothing: as many as the backbone takes."
    )
    spacing_mm: tuple[float, float, float] | None = Field(
        default=None,
        description="volume: mm between slices, rows and columns, centred and cut off or padded; nothing: the whole stack "
        "stretched to the shape.",
    )

    def recipe(self, default_depth: int) -> PackRecipe:
        """The recipe of such a pack, without text. Raises ConfigurationError where the values contradict each other."""
        return PackRecipe(
            size=self.size,
            tiles_per_series=self.tiles,
            text=False,
            kind=self.kind,
            color=self.color,
            bits=self.bits,
            levels=self.levels,
            window=self.window,
            gap=self.gap,
            depth=(self.depth or default_depth) if self.kind == "volume" else (self.depth or 1),
            spacing_mm=self.spacing_mm,
        )

    @model_validator(mode="after")
    def _is_a_recipe(self) -> Input:
        try:
            self.recipe(default_depth=2)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return self


class Code(Part):
    """Code that a model folder brings and that may run: by the name of its class, and by a hash of all of it."""

    name: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Class that config.json's auto_map names for AutoModel.",
    )
    sha256: str = Field(
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="Of every .py file of the folder, as the refusal says it; read the files before you allow them.",
    )


class Model(Part):
    """Which backbone."""

    id: str = Field(description="builtin:vits14, builtin:tiny-vit, or the folder of a transformers model.")
    revision: str | None = Field(
        default=None, pattern=r"^sha256:[0-9a-f]{8,64}$", description="Refuse other weights."
    )
    code: Code | None = Field(
        default=None, description="Code of the folder's own that may run; none by default."
    )
    input: Input = Input()
