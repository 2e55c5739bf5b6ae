"""Audits of a run: each looks for one way in which a good number may be wrong.

A module an audit. What does not belong here: metrics of the arms (evaluate), files (report). No torch but in `blanking`.
"""
