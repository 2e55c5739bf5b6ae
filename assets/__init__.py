"""Wiring: the Dagster assets and the `rwid` command. The work itself is in curation and training."""
