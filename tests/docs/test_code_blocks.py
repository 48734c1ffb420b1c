"""Every code block of README and docs: Python runs, commands are parsed, and some commands run."""

import re
import shlex
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.experiments import Experiment, Recorded
from hypernetworks.experiments import commands as training_commands
from hypernetworks.serve.address import Address
from hypernetworks.serve.limits import Limits
from hypernetworks.serve.schema import request_type

from .pages import PAGES, ROOT, blocks, commands, name
from .translation import PAIRS

WITH_PYTHON = [
    page
    for page in PAGES
    if page not in PAIRS  # test_translation.py compares the code of a Chinese page with that of its English one
    and any(block.language == "python" for block in blocks(page))
]
COMMANDS = sorted({line for page in PAGES for line in commands(page)})
OF_OURS = [line for line in COMMANDS if re.search(r"(^|\s)hypernetworks\s", line)]

NOT_RUN = {
    "docs/how-to/compile-export.md": 4,
    "docs/how-to/hub.md": 4,
    "docs/how-to/load-weights.md": 1,
    "docs/how-to/lora.md": 1,
    "docs/how-to/made-weights.md": 1,
    "docs/start.md": 1,
    "docs/zh/how-to/compile-export.md": 4,
    "docs/zh/how-to/hub.md": 4,
    "docs/zh/how-to/load-weights.md": 1,
    "docs/zh/how-to/lora.md": 1,
    "docs/zh/how-to/made-weights.md": 1,
    "docs/zh/start.md": 1,
}
"""How many blocks of a page are marked no-run, each with its reason. All other blocks run."""

EXTRA = {"docs/how-to/jax.md": ["equinox", "flax"], "docs/zh/how-to/jax.md": ["equinox", "flax"]}
"""The packages that blocks of a page need and not every test environment has."""

TOOLS = {"source": [".venv/bin/activate"], "pip": ["install"], "python3": ["-m", "venv"]}
"""Commands of others that the pages use, and how each call begins."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which blocks run: empty except for the files of the repository that they read."""
    for entry in ("README.md", "tests"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_the_python_runs_in_the_order_it_stands(page, folder):
    names: dict = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python" and block.runs:
            code = "\n" * block.line + block.text  # so that an error reports the line of the page
            exec(compile(code, str(page), "exec"), names)
    if page.name.startswith("README"):  # as the comment there says
        assert names["output"].shape == (100, 32, 256)


def test_every_block_is_of_a_kind_that_is_checked():
    """Text is the output of a program. Sphinx checks the directives, test_citation.py BibTeX."""
    for page in PAGES:
        for block in blocks(page):
            checked = block.language in ("python", "sh", "text", "bibtex", "") or block.language.startswith("{")
            assert checked, f"{name(page)}:{block.line} is in {block.language!r}"


def test_what_is_not_run_is_counted_and_says_why():
    marked = [block for page in PAGES for block in blocks(page) if block.language == "python" and block.note]
    needs = {name(page): [block.needs for block in marked if block.page == page and block.needs] for page in PAGES}
    assert {page: packages for page, packages in needs.items() if packages} == EXTRA
    marked = [block for block in marked if not block.needs]
    assert all(re.fullmatch(r"no-run: \S.+", block.note) for block in marked)
    counts = {name(page): sum(block.page == page for block in marked) for page in PAGES}
    assert {page: count for page, count in counts.items() if count} == NOT_RUN


@pytest.mark.parametrize("line", OF_OURS)
def test_each_command_of_ours_is_one_that_there_is(line, monkeypatch):
    """Parse each command up to its config object: an unknown flag or a value that it does not accept is an error."""

    class Parsed(Exception):  # noqa: N818  (not an error: the command was parsed)
        pass

    def called(self):
        raise Parsed

    words = shlex.split(line)
    command, rest = cli._find_command(words[words.index("hypernetworks") + 1 :])
    monkeypatch.setattr(cli._command_type(command), "__call__", called)
    # whatever run or config.json it names exists
    monkeypatch.setattr(training_commands, "read_config_file", lambda path: {})
    for method in ("recorded", "read_config"):
        monkeypatch.setattr(Experiment, method, lambda self, *given: Recorded(self.config_type(), {}))
    with pytest.raises(Parsed):
        cli._parse(command, rest)()


@pytest.mark.parametrize("line", [line for line in COMMANDS if line not in OF_OURS])
def test_each_other_command_calls_what_there_is(line):
    words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    match words:
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
        case ["python", "-m", "pytest", *rest]:
            assert [word for word in rest if word.startswith("tests")]
            assert all((ROOT / word).exists() for word in rest if word.startswith("tests"))
        case ["python", "-c", code]:
            exec(code, {})
        case ["curl", "-N", address, "-H", "Content-Type: application/json", "-d", body]:
            assert address == f"http://{Address.host}:{Address.port}/api/generate"
            request_type(["a run"], Limits()).model_validate_json(body)
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case [tool, *rest]:
            assert rest[: len(TOOLS[tool])] == TOOLS[tool]


def test_commands_were_found():
    assert len(OF_OURS) >= 25
    assert len([line for line in OF_OURS if line in commands(ROOT / "docs/commands.md")]) >= 8


@pytest.mark.parametrize("page", ["docs/start.md"])
def test_the_first_run_runs(page, folder, capsys):
    """Run the commands for text in order, with a toy text instead of the plays and two steps instead of a hundred."""
    (folder / "toy.txt").write_text("".join(f"ROMEO: {n} and {n * n}, so it stands.\n" for n in range(150)))
    shorter = ["--corpus", "toy.txt", "--hidden-size", "16", "--batch-size", "4", "--validation-characters", "100"]
    lines = [line for line in commands(ROOT / page) if line.startswith("hypernetworks text")]
    assert [line.split()[2] for line in lines] == ["train", "generate", "evaluate", "serve"]
    for line in lines[:3]:  # the last one serves until it is stopped
        words = shlex.split(line)[1:]
        if words[1] == "train":
            words[words.index("--steps") + 1] = "2"
            words += shorter
        assert cli.main(words) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "ROMEO:" in printed
    assert "bits per character" in printed
    assert (Path("runs/first") / "model.safetensors").is_file()


def test_the_list_of_data_sets_is_printed(capsys):
    assert cli.main(["data", "list"]) == 0
    assert "shakespeare" in capsys.readouterr().out
