"""The backbones that come built in, by id; any other id is the folder of a transformers model. Loads without torch."""

from __future__ import annotations

from training.backbones import astra, tiny_vit, vits14

BUILTIN = {
    "builtin:vits14": vits14.prepare,
    "builtin:tiny-vit": tiny_vit.prepare,
}
"""Backbone id -> function(cache folder) that gives the folder of the model, made on first use."""

VOLUMES = {"builtin:i3resnet152-astra": astra.prepare}
"""Those that take volumes in HU, likewise."""

PINNED = {"builtin:vits14": vits14.RESULT_SHA256}
"""Backbone id -> the digest it must have, now and every time it is loaded."""
