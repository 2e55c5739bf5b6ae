"""Curation: raw imaging feed to de-identified, tokenized, versioned cohorts. Functions and frozen dataclasses.

Imports neither training, assets nor ui; knows no orchestrator, no web framework and no torch.
"""
