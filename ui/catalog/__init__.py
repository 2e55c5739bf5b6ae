"""Every query a page needs, over one snapshot of the lake.

What belongs here: SQL and reading cohort and run folders, one module a group of pages. What does not: drawing, Dagster, and
anything restricted: the catalog is given the lake alone. Ids go in and come out as text; tables come out as pandas frames,
one row a thing.
"""

from __future__ import annotations

from curation.lake import LakeError
from ui.catalog.cohorts import Cohorts
from ui.catalog.contents import Contents
from ui.catalog.evidence import Evidence
from ui.catalog.filters import AGE_BAND, FACETS, ORDERS, StudyFilter
from ui.catalog.lineage import Lineage
from ui.catalog.pixels import Pixels
from ui.catalog.runs import Runs
from ui.catalog.second_look import ERRORS, SecondLook
from ui.catalog.studies import Studies


class Catalog(Contents, Studies, Pixels, Lineage, Cohorts, Runs, Evidence, SecondLook):
    """One snapshot of the lake, read-only. Safe to share between threads: each question gets its own cursor."""


__all__ = ["AGE_BAND", "ERRORS", "FACETS", "ORDERS", "Catalog", "LakeError", "StudyFilter"]
