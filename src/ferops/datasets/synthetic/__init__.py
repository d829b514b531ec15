"""Faces rendered from facial action units: the data set that ferops brings along.

Nothing about real faces can be concluded from these images. They exist so that every stage, slice, gate and report
of the pipeline has something true to find: identity, expression, intensity, skin tone, age, glasses, pose, light
and landmarks are known, because they were put in.
"""

from __future__ import annotations

from ferops.datasets.synthetic.action_units import ACTION_UNITS, EMFACS
from ferops.datasets.synthetic.generate import contact_sheet, rows

__all__ = ["ACTION_UNITS", "EMFACS", "contact_sheet", "rows"]
