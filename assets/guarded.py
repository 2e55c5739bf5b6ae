"""Calls on restricted data whose exceptions must not tell what they saw.

Dagster writes an exception's text to its run database, its index and its logs. So a bug met while raw data are at hand
is reported by type and place, without its text. Bad configuration is ours to word and passes as it is.
What does not belong here: refusals of data, which are rows and never reach this far.
"""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import dagster as dg

from curation.lake import LakeError
from curation.records import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")


def place_of(error: BaseException) -> str:
    """`file:line in function` of the innermost frames of our own code; no values, no source lines."""
    root = Path(__file__).resolve().parent.parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(root) and "site-packages" not in f.filename]
    told = [f"{Path(f.filename).relative_to(root)}:{f.lineno} in {f.name}" for f in ours[-3:]]
    return " < ".join(reversed(told)) or "outside rwid"


def guarded(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `function` returns. Raises dagster.Failure with the type and place of any exception, never its text."""
    failure: dict[str, Any] = {}
    try:
        return function(*args, **kwargs)
    except (ConfigurationError, LakeError, dg.Failure) as told:
        failure = {"description": str(told), "metadata": {"trouble": "configuration"}}
    except Exception as error:  # any text may quote raw data; type and place are kept
        failure = {
            "description": f"{type(error).__name__} at {place_of(error)}. Its text is withheld, for it may quote raw data.",
        }
    # raised outside the handler: Python would otherwise chain the original, and Dagster would store the chain
    raise dg.Failure(**failure, allow_retries=False)
