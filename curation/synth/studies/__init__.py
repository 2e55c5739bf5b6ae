"""What each kind of study consists of: one file a kind, one table of them all."""

from collections.abc import Callable, Iterator, Mapping

from curation.synth.case import Case, Made
from curation.synth.studies import ct, mr, radiograph, us

STUDIES: Mapping[str, Callable[[Case], Iterator[Made]]] = {
    "radiograph": radiograph.make,
    "ct": ct.make,
    "mr": mr.make,
    "us": us.make,
}
"""Kind of study -> its files."""
