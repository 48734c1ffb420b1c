"""All data sets that have names, whatever experiment reads them."""

from typing import Final

from hypernetworks.text.data_sets import NAMED_SETS as TEXTS
from hypernetworks.training.named_sets import NamedSet
from hypernetworks.vision.data import NAMED_SETS as IMAGES

NAMED_SETS: Final[dict[str, NamedSet]] = {**TEXTS, **IMAGES}
