"""Which subgroups are shown: none that is small, and none that tells a small one by subtraction."""

import numpy as np
import pytest

from training.cells import Cell, hidden_cells


def cells_of(
    groups: dict[str, int], *, stratum: str = "sex", unknown: int = 0
) -> tuple[list[Cell], np.ndarray]:
    names = [name for name, n in groups.items() for _ in range(n)] + ["unknown"] * unknown
    values = np.array(names)
    everybody = Cell("test", "all", "all", np.ones(len(values), bool))
    found = [Cell("test", "all", f"{stratum}={name}", values == name) for name in groups]
    return [everybody, *found], np.arange(len(values))


@pytest.mark.parametrize(
    ("groups", "unknown", "hidden"),
    [
        ({"F": 40, "M": 30}, 0, set()),
        ({"F": 40, "M": 5}, 0, {"F", "M"}),
        ({"F": 40, "M": 5}, 6, {"M"}),
        ({"F": 60, "M": 39}, 1, {"M"}),
        ({"a": 50, "b": 12, "c": 4}, 0, {"b", "c"}),
        ({"a": 50, "b": 20, "c": 6, "d": 5}, 0, {"c", "d"}),
        ({"a": 4}, 0, {"a"}),
    ],
)
def test_what_is_hidden_cannot_be_told_by_subtraction(
    groups: dict[str, int], unknown: int, hidden: set[str]
) -> None:
    cells, patients = cells_of(groups, unknown=unknown)
    found = {key[2].removeprefix("sex=") for key in hidden_cells(cells, patients, 11)}
    assert found == hidden


def test_patients_are_counted_and_not_studies() -> None:
    cells, patients = cells_of({"F": 40, "M": 30})
    many_studies_each = np.where(
        np.arange(len(patients)) >= 40, 1000 + np.arange(len(patients)) % 5, patients
    )
    assert {key[2] for key in hidden_cells(cells, many_studies_each, 11)} == {"sex=F", "sex=M"}


def test_sites_are_always_shown() -> None:
    cells, patients = cells_of({"F": 3})
    site = Cell("test", "st-elsewhere", "all", np.ones(3, bool))
    assert site.key not in hidden_cells([*cells, site], patients, 11)
