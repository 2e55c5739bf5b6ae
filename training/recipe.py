"""Named TuneSpecs: `recipes/*.yaml` in this package and in the user's own folder.

What belongs here: finding a recipe's file. What does not: reading it (spec).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curation.records import ConfigurationError

SHIPPED = Path(__file__).parent / "recipes"


def list_recipes(folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Recipe files by name, sorted; a user's recipe hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in (SHIPPED, *folders):
        found.update({path.stem: path for path in sorted(folder.glob("*.yaml"))})
    return dict(sorted(found.items()))


def find_recipe(name: str, folders: Sequence[Path] = ()) -> Path:
    """The file of a named recipe. Raises ConfigurationError with the names there are."""
    recipes = list_recipes(folders)
    if name not in recipes:
        raise ConfigurationError(
            f"No recipe {name!r}. There are: {', '.join(recipes)}; or give the path of a YAML file."
        )
    return recipes[name]
