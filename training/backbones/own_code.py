"""Code that a model folder brings (transformers' auto_map): refused, but where a spec names its class and the hash of all of it.

What belongs here: whether it may run. What does not: running it (folder). Loads without torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.records import ConfigurationError

if TYPE_CHECKING:
    from training.model_spec import Code


def named(folder: Path) -> str | None:
    """The class that config.json wants for AutoModel, `file.Class`; None where the folder brings no code."""
    path = folder / "config.json"
    facts: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    found = (facts.get("auto_map") or {}).get("AutoModel")
    return str(found[0] if isinstance(found, list) else found) if found else None


def digest(folder: Path) -> str:
    """sha256 over names and bytes of every .py file under the folder, hex."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        body = path.read_bytes()
        hasher.update(f"{path.relative_to(folder).as_posix()} {len(body)}\n".encode() + body)
    return hasher.hexdigest()


def check(folder: Path, allowed: Code | None, is_native: bool) -> None:
    """Raises ConfigurationError where a folder's code may not run, or where code is allowed that is not there.

    is_native: transformers has the architecture itself, so that nothing of the folder's runs unless it is asked for.
    """
    wanted = named(folder)
    if allowed is None and is_native:
        return
    if wanted is None:
        if allowed:
            raise ConfigurationError(f"{folder} brings no code of its own. Leave out model.code.")
        return
    if "--" in wanted:
        raise ConfigurationError(
            f"{folder}: config.json takes its code from a hub ({wanted}). Copy that code into the folder, and mend auto_map."
        )
    class_name, found = wanted.rpartition(".")[2], digest(folder)
    if allowed is None:
        raise ConfigurationError(
            f"{folder} brings code of its own ({wanted}), which does not run unless it is allowed. Read its .py files; then set "
            f"model.code.name={class_name} and model.code.sha256=sha256:{found}."
        )
    if (allowed.name, allowed.sha256) != (class_name, f"sha256:{found}"):
        raise ConfigurationError(
            f"{folder} brings {class_name} of sha256:{found}; model.code allows {allowed.name} of {allowed.sha256}. Read what "
            "changed, then mend model.code."
        )
