"""Starting the command: what it imports, and signals that arrive while it does."""

import json
import os
import signal
import subprocess
import sys

import pytest

from hypernetworks import cli

from .toy import Capture

PROGRAM = """
import sys, time

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            print(flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Stop())
from hypernetworks_command import main
sys.exit(main())
"""
"""The command, stopped where it begins to import a module."""


@pytest.mark.parametrize(
    "given",
    [
        "import hypernetworks",
        *(
            f"from hypernetworks.cli import main; main({command.split()})"
            for command in (
                "--help",
                "text train --help",
                "vision train --help",
                "strokes train --help",
                "bench --help",
            )
        ),
    ],
)
def test_neither_the_package_nor_a_help_text_imports_the_compiler(given: str) -> None:
    program = f"import json, sys; {given}; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "torch" in loaded
    assert not [name for name in loaded if name.split(".")[:2] == ["torch", "_dynamo"]]
    assert not {"triton", "matplotlib", "optuna", "onnx", "jax"} & {*loaded}


@pytest.mark.parametrize("given", [[], ["--help"], ["text"], ["strokes", "-h"]])
def test_the_list_of_commands_is_printed_without_torch(given: list[str], capsys: Capture) -> None:
    """It would take seconds. Nothing else is imported, either."""
    program = f"""
import json, sys
import hypernetworks_command
sys.argv = ["hypernetworks", *{given}]
assert hypernetworks_command.main() == 0
print(json.dumps([*sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    *printed, loaded = done.stdout.splitlines()
    assert not {"torch", "numpy", "tyro", "hypernetworks"} & {*json.loads(loaded)}
    assert cli.main(given) == 0
    assert printed == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("module", ["torch", "torch.nn", "hypernetworks.recurrent.lstm", "hypernetworks.cli"])
def test_a_signal_while_it_starts_is_one_line(number: int, code: int, word: str, module: str) -> None:
    program = [sys.executable, "-c", PROGRAM.replace("MODULE", repr(module)), "text", "generate", os.devnull]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert (process.returncode, error.count("\n"), "Traceback" in error) == (code, 1, False), error
    assert error == f"hypernetworks: {word} while starting\n"
