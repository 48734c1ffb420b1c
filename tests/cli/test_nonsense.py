"""What is mistyped or impossible is one line, exit code 2 and no traceback."""

import re
from pathlib import Path

import pytest

from hypernetworks.runs.run import Run

from .toy import Capture, error_line

TRAIN = "text train --corpus {0}/toy.txt --out {0}/new "
NONSENSE = {
    "txt train": "no command 'txt': expected text train, ",
    "text trian": "no command 'text trian': did you mean text train\\? ",
    "texttrain": r"no command 'texttrain': did you mean text train\?",
    "text serve-all": "no command 'text serve-all': ",
    TRAIN + "--lenght 3": "Unrecognized options: --lenght",
    TRAIN + "--batch-size two": "--batch-size.* invalid literal for int.* 'two'|invalid .*two",
    TRAIN + "--batch-size": "--batch-size",
    TRAIN + "--steps 1.5": "1.5",
    TRAIN + "--network elman": "invalid choice 'elman' for argument '--network'",
    TRAIN + "--preset huge": "preset should be one of default, .* got 'huge'",
    TRAIN + "--preset": "--preset: expected one argument",
    TRAIN + "--hidden-size 0": "hidden_size should be at least 1, got 0",
    TRAIN + "--hidden-size 10000000000": "larger than any tensor",
    TRAIN + "--learning-rate nan": "learning_rate should be a finite number above 0, got nan",
    TRAIN + "--tie-weights": "tie_weights requires embedding_size and hidden_size to be equal, got .* 64 .* 256",
    TRAIN + "--warmup -5": "warmup should be at least 0, got -5",
    TRAIN + "--device warp": "device should be auto, cpu, .* got 'warp'",
    TRAIN + "--length 5000": "the training text has .* symbols, fewer than one batch: .* length 5000",
    TRAIN + "--resume": "new: no such folder, expected a run",
    TRAIN + "--config {0}/none": "none: no such file",
    TRAIN + "--config {0}/toy.txt": "toy.txt: not valid JSON",
    TRAIN + "--config {0}/foreign/config.json": "foreign/config.json: not a run of hypernetworks text",
    TRAIN + "--config {0}/run/config.json --resume": "--init-from and --resume, got --config and --resume",
    "text train --resume --preset demo --out {0}/run": "got --preset and --resume",
    "text train --corpus {0}/none --out {0}/new": "no data set, file or folder '.*none': expected shakespeare, ",
    "text train --corpus enwik --out {0}/new": "no data set, file or folder 'enwik': did you mean enwik8",
    "text train --corpus {0}/empty --out {0}/new": "the text of .*empty is empty",
    "text train --corpus {0}/binary --out {0}/new": "binary is not UTF-8 text: byte 0xff at 3",
    "text train --corpus {0}/short --out {0}/new": "short has 5 characters, too few to split: expected 40",
    "text train --corpus ptb-char --out {0}/new": "ptb.train.txt was not found and cannot be fetched: put it in ",
    "text train --corpus {0}/toy.txt --out {0}/run --batch-size 2": "run: already holds a run: give --resume ",
    "text train --corpus {0}/toy.txt --out {0} --batch-size 2": "holds other files",
    "text train --corpus {0}/toy.txt --out {0}/toy.txt --batch-size 2": "toy.txt: is a file, expected a folder",
    "text train --resume --out {0}/toy.txt": "toy.txt: is a file, expected a run",
    "text train --resume --out {0}/foreign": "foreign: not a run of hypernetworks text",
    "text train --resume --out {0}/run --batch-size 5": "resumed with its own settings, .* batch_size 5 .* has 2",
    "text evaluate": "PATH|run",
    "text evaluate {0}/none": "none: no such folder, expected a run",
    "text evaluate {0}": r"not a run's folder \(it has no config.json\)",
    "text evaluate {0}/run --split dev": "split should be train, validation or test, got 'dev'",
    "text evaluate {0}/run --characters -1": "characters should be at least 0",
    "text evaluate {0}/run --characters 1": "scoring requires a text of at least 2 symbols, got 1",
    "text evaluate {0}/run --text {0}/latin": "that the alphabet lacks: 'L' at 0",
    "text generate {0}/foreign": "foreign: not a run of hypernetworks text",
    "text generate {0}/run --temperature -1": "temperature should be .* at least 0, got -1.0",
    "text generate {0}/run --top-p 0": r"top_p should be in \(0, 1\], got 0.0",
    "text generate {0}/run --prompt Éh": "'É' at 0; expected one of|'É' at 0, 'h' at 1; expected",
    "text report": "PATH|runs",
    "text report {0}/none": "none: no such folder, expected a run",
    "text report {0}/foreign": "foreign: not a run of hypernetworks text",
    "text report {0}/run {0}/none": "none: no such folder, expected a run",
    "text report {0}/run --text {0}/latin": "that the alphabet lacks: 'L' at 0",
    "text report {0}/run --text É": "'É' at 0; expected one of",
    "text report {0}/run --text {0}/empty": "text should have 1 to 10,000 characters to be coloured, got 0",
    "text report {0}/run --text {0}/binary": "binary is not UTF-8 text: byte 0xff at 3",
    "text report {0}/run --length 0": "length should be at least 1, got 0",
    "text report {0}/run --device warp": "device should be auto, cpu, .* got 'warp'",
    "text compare --corpus {0}/toy.txt --hidden-size 7": "compare chooses --hidden-size itself, got 7",
    "text compare --corpus {0}/toy.txt --network rhn": "compare chooses --network itself, got rhn",
    "text compare --corpus {0}/toy.txt --networks elman": "elman",
    "text compare --corpus {0}/toy.txt --networks lstm lstm": "networks should all be different, got lstm lstm",
    "text compare --corpus {0}/toy.txt --parameters 10": "no lstm has within 1% of 10 parameters",
    "text compare --corpus {0}/toy.txt --seeds 1 1 --out {0}/new": "seeds should be one or more different numbers",
    "text evaluate {0}/run --characters 1 --dynamic": "scoring requires a text of at least 2 symbols, got 1",
    "text compare --corpus {0}/toy.txt --study {0}/none --out {0}/new": "--study should be the folder of a study made by "
    "text study, got .*none, which is not a folder",
    "text compare --corpus {0}/toy.txt --study {0}/run --out {0}/new": "got .*run, which holds no results",
    "text study --preset seconds --corpus {0}/toy.txt --out {0}/study --equal-time": "--equal-time compares two or more "
    "variants, got none",
    "data list --data-dir {0}/none": "data_dir should be a folder that exists, got .*none",
    "data list --data-dir {0}/toy.txt": "data_dir should be a folder that exists, got .*toy.txt",
    "doctor --data-dir {0}/none": "data_dir should be a folder that exists, got .*none",
    "data get enwik": "did you mean enwik8",
    "data get ptb-char": "ptb.train.txt was not found and cannot be fetched: put it in ",
}


@pytest.mark.parametrize("words", NONSENSE)
def test_nonsense_is_one_line_and_exit_code_2(words: str, place: Path, capsys: Capture) -> None:
    (place / "empty").touch()
    (place / "binary").write_bytes(b"abc\xff\x00\x01" * 100)
    (place / "short").write_text("short")
    (place / "latin").write_text("Lorem ipsum " * 10)
    Run.create(place / "foreign", {"experiment": "vision"})
    line = error_line(capsys, [word.format(place) for word in words.split()], 2)
    assert re.search(NONSENSE[words], line), line
    assert not (place / "new").exists()
