"""The kinds of task: one file each, and this table. Loads without torch."""

from __future__ import annotations

from training.tasks import multiclass, multilabel, survival

KINDS = {"multilabel": multilabel, "multiclass": multiclass, "survival": survival}
"""Task kind -> the module that keeps its targets, loss and probabilities (contract: training/task.py)."""
