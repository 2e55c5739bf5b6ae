"""The three partition sets. A partition is one delivery, one cohort or one run, never one study: runs cost seconds.

What does not belong here: who adds a key (the command, the sensor, the pages) and what is made of it.
"""

import dagster as dg

deliveries = dg.DynamicPartitionsDefinition(name="deliveries")
"""One key a delivery registered under restricted/deliveries."""

cohorts = dg.DynamicPartitionsDefinition(name="cohorts")
"""One key a cohort *name*: building it again on a newer snapshot is a new materialization of the same partition."""

runs = dg.DynamicPartitionsDefinition(name="runs")
"""One key a run_id, the hash over TuneSpec and cohort."""
