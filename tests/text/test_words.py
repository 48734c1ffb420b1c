"""Words as symbols: a text is cut without loss, rare words are spelled, and a model of words does what others do."""

import importlib.util
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.text import words
from hypernetworks.text.alphabet import decode, encode
from hypernetworks.text.config import Symbols
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.trained import TrainedText
from hypernetworks.text.translate import ids_of, translate
from hypernetworks.text.words import frequent_words, word_pattern, words_of

Capture = pytest.CaptureFixture[str]

EXAMPLE = Path(__file__).parents[2] / "examples" / "generate_onnx.py"
VERSES = [f"The cat{'s' * (n % 2)} of house {n} didn't see {n % 7} mice; it's so.\n" for n in range(60)]
TEXT = "".join(VERSES)
ALPHABET = tuple(sorted({*"Thecatdog, .\n", "The", "cat", "the"}))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("I don't know,\n", "I| |don't| |know|,|\n"),
        ("'tis the dogs' rock’n’roll", "'|tis| |the| |dogs|'| |rock’n’roll"),
        ("a''b '' foo_bar", "a|'|'|b| |'|'| |foo|_|bar"),
        ("3.14 x² 1st", "3|.|14| |x²| |1st"),
        ("Ärger übt été Ёж", "Ärger| |übt| |été| |Ёж"),
        ("e\u0301te\u0301 \u0301", "e\u0301te\u0301| |\u0301"),
        ("हिन्दी भाषा", "हिन्दी| |भाषा"),
        ("안녕 세계", "안녕| |세계"),
        ("中文GPT字", "中|文|GPT|字"),
        ("テスト、漢字", "テ|ス|ト|、|漢|字"),
        ("ไทย", "ไ|ท|ย"),
        ("a  b\r\n👩‍💻", "a| | |b|\r|\n|👩|\u200d|💻"),
        ("", ""),
    ],
    ids=[
        *("English", "apostrophes", "signs", "digits", "letters of Europe", "combining marks", "Hindi", "Korean"),
        *("Chinese", "Japanese", "Thai", "spaces and emoji", "nothing"),
    ],
)
def test_a_text_is_cut_into_words_and_other_characters(text: str, cut: str) -> None:
    assert list(words_of(text)) == (cut.split("|") if cut else [])


@settings(max_examples=200)
@given(st.text() | st.text("ab1'’_ \n\u0301é中の"), st.data())
def test_nothing_is_lost(text: str, data: Any) -> None:
    """Whatever the text and the words of the alphabet, and where it is cut between two words."""
    cut = list(words_of(text))
    assert "".join(cut) == text
    chosen = data.draw(st.sets(st.sampled_from(cut))) if cut else set()
    alphabet = tuple(sorted({*text, *chosen}))
    ids = encode(text, alphabet, "word")
    assert decode(ids, alphabet, "word") == decode(ids.tolist(), alphabet, "word") == text
    expected = [symbol for word in cut for symbol in ([word] if word in alphabet else word)]
    assert [alphabet[id] for id in ids] == expected
    at = data.draw(st.integers(0, len(cut)))
    assert [*words_of("".join(cut[:at])), *words_of("".join(cut[at:]))] == cut


def test_a_word_that_the_alphabet_lacks_is_spelled() -> None:
    ids = encode("The cat, the dog, a code.", ALPHABET, "word")
    symbols = "The| |cat|,| |the| |d|o|g|,| |a| |c|o|d|e|."
    assert [ALPHABET[id] for id in ids] == symbols.split("|")


def test_unknown_characters_are_named_with_their_places_in_the_text() -> None:
    with pytest.raises(
        UsageError, match=r"the text has characters that the alphabet lacks: 'é' at 9, 'z' at 13; "
    ) as it:
        encode("The cat, été z", tuple(sorted({*ALPHABET, "t", "x", " "})), "word")
    assert "The cat" not in str(it.value)
    symbols = Symbols(ALPHABET, "word")
    assert [ALPHABET[id] for id in ids_of("The cat zz", "character", symbols, 3)] == ["The", " ", "cat"]
    with pytest.raises(UsageError, match="'z' at 8"):
        ids_of("The cat zz", "character", symbols, 5)


def test_the_alphabet_has_the_frequent_words_of_the_training_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "to be or not to be, a b a b: once too, be"
    assert frequent_words(text) == ["be", "to"]  # three times, twice; a and b are characters
    assert frequent_words("zz yy zz yy xx") == ["yy", "zz"]
    monkeypatch.setattr(words, "WORDS", 1)
    assert frequent_words(text) == ["be"]


@pytest.fixture
def verses(tmp_path: Path) -> Path:
    path = tmp_path / "verses.txt"
    path.write_text(TEXT)
    return path


def test_a_corpus_of_words_has_the_splits_of_one_of_characters(verses: Path) -> None:
    """So scores in bits per character are of the same text. Only words of the training split are in the alphabet."""
    with verses.open("a") as file:
        file.write("unheard-of unheard-of ")
    made, characters = load_corpus(str(verses), unit="word"), load_corpus(str(verses))
    for split in ("train", "validation", "test"):
        assert made.decode(getattr(made, split)) == characters.decode(getattr(characters, split))
        assert made.sizes[split] < characters.sizes[split] or split == "test"
    assert made.sha256 == characters.sha256
    assert {symbol for symbol in made.alphabet if len(symbol) == 1} == set(characters.alphabet)
    expected = {word for word in set(words_of(TEXT[: len(TEXT) * 9 // 10])) if len(word) > 1}
    longer = {symbol for symbol in made.alphabet if len(symbol) > 1}
    assert longer < expected
    assert {"The", "cats", "didn't", "it's"} < longer
    assert "unheard" not in longer
    assert list(made.alphabet) == sorted(made.alphabet)
    assert made.unit == "word"


def test_a_text_for_each_split(verses: Path, tmp_path: Path) -> None:
    (tmp_path / "valid.txt").write_text("valid valid é")
    made = load_corpus(str(verses), validation_text=str(tmp_path / "valid.txt"), unit="word")
    assert made.decode(made.train) == TEXT
    assert [made.alphabet[id] for id in made.validation] == [*"valid", " ", *"valid", " ", "é"]


def test_models_of_other_units_read_it(verses: Path) -> None:
    """And it reads texts of other units."""
    made = {unit: load_corpus(str(verses), unit=unit) for unit in ("character", "byte", "word")}
    for one in made.values():
        for other in made.values():
            ids = translate(one.train, one, Symbols(other.alphabet, other.unit))
            torch.testing.assert_close(ids, other.train)


@pytest.mark.parametrize(("name", "unit"), [("shakespeare", "character"), ("enwik8", "byte")])
def test_a_named_set_has_a_unit_of_its_own(name: str, unit: str, capsys: Capture, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name} is read by {unit}: unit word is for a corpus that is a path"):
        load_corpus(name, tmp_path, unit="word")
    assert cli.main(["text", "train", f"--corpus={name}", "--unit=word", f"--out={tmp_path}/run"]) == 2
    assert f"{name} is read by {unit}: unit word is for" in capsys.readouterr().err


# A model of words, trained for a moment.


SETTINGS = (
    *("--unit=word", "--network=hyper-lstm", "--hidden-size=6", "--hyper-size=4", "--hyper-embedding-size=2"),
    *("--embedding-size=5", "--batch-size=4", "--length=16", "--steps=4", "--warmup=0", "--evaluate-every=2"),
    *("--learning-rate=0.01", "--device=cpu"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    (folder / "verses.txt").write_text(TEXT)
    given = ["--corpus", str(folder / "verses.txt"), "--out", str(folder / "run")]
    assert cli.main(["text", "train", *SETTINGS, *given]) == 0
    return folder / "run"


@pytest.fixture
def lm(run: Path) -> TrainedText:
    loaded = hn.load(run)
    assert isinstance(loaded, TrainedText)
    return loaded


def corpus_of(run: Path) -> Corpus:
    return load_corpus(str(run.parent / "verses.txt"), unit="word")


def nats_of(lm: TrainedText, ids: torch.Tensor) -> float:
    """−ln p of all symbols after the first, one by one."""
    total, state = 0.0, None
    with torch.no_grad():
        for read, following in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
            logits, state = lm.model(torch.tensor([[read]]), state)
            total -= F.log_softmax(logits[0, 0].double(), dim=0)[following].item()
    return total


def test_training_says_what_it_reads_and_scores(run: Path, tmp_path: Path, capsys: Capture) -> None:
    given = ["--corpus", str(run.parent / "verses.txt"), "--out", str(tmp_path / "again"), "--log-every=2"]
    assert cli.main(["text", "train", *SETTINGS, *given]) == 0
    out, err = capsys.readouterr()
    corpus = corpus_of(run)
    sizes = ", ".join(f"{split} {size:,}" for split, size in corpus.sizes.items())
    assert f"{sizes} words and other characters, {len(corpus.alphabet)} symbols; " in out
    rows = [json.loads(line) for line in (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if "validation_loss" in row][-1]
    symbols, characters = len(corpus.validation) - 1, len(corpus.decode(corpus.validation[1:]))
    assert last["validation_bpc"] == pytest.approx(last["validation_loss"] * symbols / characters / math.log(2))
    shown = f"{last['validation_loss']:.4f} nats per symbol, {last['validation_bpc']:.4f} bits per character"
    assert shown in out
    assert shown in err


def test_a_text_is_scored_per_symbol_and_per_character(
    run: Path, lm: TrainedText, tmp_path: Path, capsys: Capture
) -> None:
    text = "The cats of mice didn't see the house."
    ids = encode(text, lm.alphabet, "word")
    assert 13 < len(ids) < len(text)
    nats = nats_of(lm, ids)
    score = lm.evaluate(text)
    assert (score.symbols, score.characters) == (len(ids) - 1, len(text) - 3)
    assert score.nats == pytest.approx(nats / (len(ids) - 1), rel=1e-5)
    assert score.bpc == pytest.approx(nats / (len(text) - 3) / math.log(2), rel=1e-5)
    (tmp_path / "text.txt").write_text(text)
    for how, line in (([], "one stream"), (["--weights=float32", "--dynamic"], "one stream, dynamic evaluation")):
        assert cli.main(["text", "evaluate", str(run), "--text", str(tmp_path / "text.txt"), "--device=cpu", *how]) == 0
        out = capsys.readouterr().out
        assert f"{len(ids) - 1:,} symbols predicted ({len(text) - 3} characters), {line}" in out
    assert re.search(r"[\d.]+ nats per symbol, perplexity [\d.]+, [\d.]+ bits per character\n", out)
    assert cli.main(["text", "evaluate", str(run), "--protocol=windows", "--window=4", "--device=cpu"]) == 0
    assert "random windows of 4 symbols," in capsys.readouterr().out
    assert lm.evaluate(text + "\u2603", characters=len(ids)) == score


def test_words_are_generated_whole(run: Path, lm: TrainedText, capsys: Capture) -> None:
    pieces = list(lm.stream("The cat", hn.text.Sampling(30, seed=3)))
    assert len(pieces) == 30
    assert set(pieces) <= set(lm.alphabet)
    assert any(len(piece) > 1 for piece in pieces)
    assert lm.generate("The cat", 30, seed=3) == "".join(pieces)
    given = ["text", "generate", str(run), "--length=30", "--seed=3", "--device=cpu", "--prompt"]
    assert cli.main([*given, "The cat"]) == 0
    assert capsys.readouterr().out == f"The cat{''.join(pieces)}\n"
    assert cli.main([*given, "The cat §"]) == 2
    assert "the text has characters that the alphabet lacks: '§' at 8" in capsys.readouterr().err
    assert f"{len(lm.alphabet)} symbols" in repr(lm)


def test_a_run_of_words_goes_on_with_another_text(run: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "new.txt").write_text("The mice see it. " * 40)
    given = ["--corpus", str(tmp_path / "new.txt"), "--out", str(tmp_path / "new"), "--steps=2"]
    assert cli.main(["text", "train", "--init-from", str(run), *given]) == 0
    assert hn.load(tmp_path / "new").alphabet == hn.load(run).alphabet
    (tmp_path / "new.txt").write_text("The § see it. " * 40)
    assert cli.main(["text", "train", "--init-from", str(run), *given[:-2], str(tmp_path / "other")]) == 2
    assert (
        "does not fit the model's alphabet: the text has characters that the alphabet lacks: '§'"
        in capsys.readouterr().err
    )


def test_reports_and_strips_show_whole_words(run: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    text = "The cats didn't see"
    page, picture = tmp_path / "report.html", tmp_path / "strips.svg"
    assert cli.main(["text", "report", str(run), "--text", text, "--length=20", "--out", str(page)]) == 0
    written = page.read_text()
    given = written[written.index('aria-label="The given text') :]
    letters = re.findall(r'<span[^>]*title="[^"]*">(.*?)</span>', given.partition("</div>")[0])
    assert letters == ["The", " ", "cats", " ", "didn&#39;t", " ", "see"]
    assert re.search(r"[\d.]+ bits per character \(step \d\)", written)
    assert "operations per symbol" in written
    capsys.readouterr()
    assert cli.main(["text", "strips", str(run), "--text", text, "--out", str(picture), "--device=cpu"]) == 0
    assert capsys.readouterr().out.startswith(f"{text}\nstrips: ")
    labels = re.findall(r"<!-- (.*?) -->", picture.read_text())
    assert labels[: len(text)] == list(text.replace(" ", "·"))  # the changes of a word are below each of its characters


def test_the_loop_on_onnxruntime_reads_words(run: Path, lm: TrainedText, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out = str(tmp_path / "model.onnx")
    assert cli.main(["text", "export", str(run), "--to", "onnx", "--out", out]) == 0
    spec = importlib.util.spec_from_file_location("generate_onnx", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    prompt = "The cats did so"  # did is not in the alphabet
    assert "did" not in lm.alphabet
    pieces = list(example.generate(out, prompt, 12, temperature=1e-6))
    assert pieces == list(lm.stream(prompt, hn.text.Sampling(12, temperature=0)))
    assert "".join(re.findall(word_pattern(), prompt)) == prompt


def test_the_card_of_a_model_of_words(lm: TrainedText, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    test = lm.evaluate(split="test")
    lm.save_pretrained(tmp_path / "mine", test=test)
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "A language model of words: `hyper-lstm`" in card
    assert "- word-level\n" in card
    assert "| split | nats per symbol | bits per character |" in card
    validation = lm.evaluate(split="validation")
    for split, score in {"validation": validation, "test": test}.items():
        assert score.bpc < 0.95 * score.nats / math.log(2)
        assert f"| {split} | {score.nats:.4f} | {score.bpc:.4f} |" in card
        assert (
            f"split: {split}\n    metrics:\n    - type: bits-per-character\n      value: {round(score.bpc, 4)}" in card
        )
    assert f"It has {len(lm.alphabet)} different symbols (train " in card
    again = hn.load(tmp_path / "mine")
    assert (again.symbols, again.evaluate("The cat")) == (lm.symbols, lm.evaluate("The cat"))


def test_it_is_compared_in_bits_per_character(verses: Path, tmp_path: Path, capsys: Capture) -> None:
    given = [f"--corpus={verses}", f"--out={tmp_path}/compared", "--parameters=20000", "--networks", "lstm", "gru"]
    own = [flag for flag in SETTINGS if not flag.startswith(("--network=", "--hidden-size"))]
    assert cli.main(["text", "compare", *own, *given]) == 0
    corpus = load_corpus(str(verses), unit="word")
    for row in json.loads((tmp_path / "compared" / "compare.json").read_text()):
        folder = Path(row["runs"][0])
        lm = hn.load(folder)
        assert row["scores"]["validation_bpc"][0] == pytest.approx(lm.evaluate(split="validation").bpc, rel=1e-6)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert rows[-1]["validation_loss"] / math.log(2) > 1.5 * row["scores"]["validation_bpc"][0]
    assert len(corpus.decode(corpus.validation)) > 1.5 * len(corpus.validation)
    assert f"Validation on {len(corpus.validation):,} symbols" in (tmp_path / "compared" / "compare.svg").read_text()
