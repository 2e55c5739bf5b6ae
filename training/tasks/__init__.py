"""The kinds of task: one file each, and this table. Loads without torch."""

from __future__ import annotations

from training.tasks.contrastive import Contrastive
from training.tasks.dialogue import ReportGeneration, Vqa
from training.tasks.multiclass import Multiclass
from training.tasks.multilabel import Multilabel
from training.tasks.regression import Regression
from training.tasks.segmentation import Segmentation
from training.tasks.survival import Survival
from training.tasks.text_extraction import TextExtraction

KINDS = {
    "multilabel": Multilabel,
    "multiclass": Multiclass,
    "regression": Regression,
    "survival": Survival,
    "text_extraction": TextExtraction,
    "contrastive": Contrastive,
    "segmentation": Segmentation,
    "report_generation": ReportGeneration,
    "vqa": Vqa,
}
"""Task kind -> the class that keeps the contract (training/task.py); its fields are keys of the spec's `task`."""
