"""Text burned into pixels, as ultrasound and dose screens have it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FONT = {
    sign: np.array([[dot == "#" for dot in row] for row in rows])
    for sign, rows in tomllib.loads((Path(__file__).parent / "font.toml").read_text(encoding="utf-8")).items()
}


def ink(text: str, scale: int = 1) -> NDArray[np.bool_]:
    """The text's dots, [7 * scale, 6 * scale * signs]. Unknown signs become blanks."""
    blocks = [np.pad(_FONT.get(sign, _FONT[" "]), ((0, 0), (0, 1))) for sign in text.upper()]
    return np.kron(np.hstack(blocks), np.ones((scale, scale), bool))


def burn(
    image: NDArray[np.uint8], row: int, column: int, text: str, value: int = 255, scale: int = 1
) -> None:
    """Write text into an image [rows, columns], in place; what does not fit is cut off."""
    dots = ink(text, scale)
    height, width = min(dots.shape[0], image.shape[0] - row), min(dots.shape[1], image.shape[1] - column)
    if height > 0 and width > 0:
        image[row : row + height, column : column + width][dots[:height, :width]] = value
