"""The four partition sets. A partition is one delivery, cohort, run or batch of corrections, never one study: runs cost seconds.

What does not belong here: who adds a key (the command, the sensor, the pages) and what is made of it.
"""

import dagster as dg

deliveries = dg.DynamicPartitionsDefinition(name="deliveries")
"""One key a delivery registered under restricted/deliveries."""

cohorts = dg.DynamicPartitionsDefinition(name="cohorts")
"""One key a cohort *name*: building it again on a newer snapshot is a new materialization of the same partition."""

relabels = dg.DynamicPartitionsDefinition(name="relabels")
"""One key a batch of corrections, the hash of what it says and when."""

runs = dg.DynamicPartitionsDefinition(name="runs")
"""One key a run_id, the hash over TuneSpec and cohort."""
