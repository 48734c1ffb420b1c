"""Chinese and Japanese characters, stroke by stroke: KanjiVG, by Ulrich Apel and contributors.

The set has 6,703 characters in 11,662 drawings: many characters have variants. Each is an SVG file with one path for each
stroke, in the order of writing, on a square of 109 units. The curves become polylines, and these are simplified with a
tolerance of `TOLERANCE` units. Coordinates are rounded to hundredths of a unit, as they are in the files.

Licence: Creative Commons Attribution-ShareAlike 3.0, https://kanjivg.tagaini.net. A picture that is made from the set, or by a
model trained on it, names it: `ATTRIBUTION`.
"""

import re
from io import BytesIO
from typing import Final
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np

from hypernetworks.data.data_file import ZIP_DAMAGE
from hypernetworks.errors import UsageError
from hypernetworks.strokes.drawings import Drawings, Stroke, offsets_of
from hypernetworks.strokes.simplify import coordinates, simplified
from hypernetworks.strokes.svg_path import polylines

__all__ = ["ATTRIBUTION", "SIZE", "TOLERANCE", "read_kanji", "strokes_of_svg"]

ATTRIBUTION: Final = "Characters: KanjiVG, © Ulrich Apel, CC BY-SA 3.0, https://kanjivg.tagaini.net"

SIZE: Final = 109.0
"""The side of the square of each character."""

TOLERANCE: Final = 0.8
"""How far a simplified stroke may be from the original one: 0.7 % of the square."""

_NAME = re.compile(r"kanji/(?P<code>[0-9a-f]{5})(?:-[^/]+)?\.svg")
_PATH: Final = "{http://www.w3.org/2000/svg}path"


def strokes_of_svg(content: bytes, place: str) -> list[Stroke]:
    """The simplified strokes of an SVG file, one for each path, in the order of the file.

    Raises:
        UsageError: it is no SVG file, or has no path, or a path that cannot be read.
    """
    try:
        paths = [element.get("d", "") for element in ElementTree.fromstring(content).iter(_PATH)]
    except ElementTree.ParseError as error:
        raise UsageError(f"{place}: is not an SVG file: {error}") from error
    if not paths:
        raise UsageError(f"{place}: holds no path, so no stroke")
    try:
        lines = [line for path in paths for line in polylines(path)]
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    return [np.round(coordinates(simplified(line, TOLERANCE)), 2) for line in lines]


def read_kanji(wheel: bytes) -> Drawings:
    """All characters and variants in the wheel, ordered by file name.

    The wheel is read as a zip file. Nothing in it is installed or imported.

    Args:
        wheel: the bytes of the wheel, which holds the characters as kanji/CODE.svg and kanji/CODE-VARIANT.svg.

    Raises:
        UsageError: the bytes are not a zip file, or it holds no character, or one that cannot be read.
    """
    parts, names = [], []
    try:
        with ZipFile(BytesIO(wheel)) as archive:
            for name in sorted(archive.namelist()):
                if found := _NAME.fullmatch(name):
                    strokes = strokes_of_svg(archive.read(name), name)
                    parts.append(offsets_of(strokes, (SIZE / 2, SIZE / 2)))
                    names.append(chr(int(found["code"], 16)))
    except ZIP_DAMAGE as error:
        raise UsageError(f"the file of the characters is not a wheel: {error}") from error
    if not names:
        raise UsageError("the wheel holds no characters: expected kanji/CODE.svg")
    return Drawings.of(parts, names)
