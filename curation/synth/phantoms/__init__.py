"""Phantoms: pictures of people who do not exist, drawn from shapes in millimetres.

What belongs here: arrays and their geometry. What does not: DICOM.
"""
