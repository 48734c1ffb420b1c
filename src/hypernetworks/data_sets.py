"""The named data sets of all experiments."""

from typing import Final

from hypernetworks.data.named_sets import NamedSet
from hypernetworks.strokes.data import NAMED_SETS as DRAWINGS
from hypernetworks.text.data_sets import NAMED_SETS as TEXTS
from hypernetworks.vision.data import NAMED_SETS as IMAGES

NAMED_SETS: Final[dict[str, NamedSet]] = {**TEXTS, **IMAGES, **DRAWINGS}
