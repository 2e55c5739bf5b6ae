"""Tuning of vision foundation models on frozen cohorts, and the evidence of what it bought.

Imports curation, never assets or ui. torch, transformers and peft are imported inside functions of the modules that
compute; spec, recipe, examples, precheck, runs and metrics load without torch, so that pages and code locations start
fast.
"""
