"""The generator: sites, patients, studies, reports, planted identifiers and their answer key. All of it is synthetic.

What belongs here: making deliveries that look like what hospitals hand over. What does not: reading them.
"""

from curation.synth.dialect import SITES
from curation.synth.generate import Summary, generate

__all__ = ["SITES", "Summary", "generate"]
