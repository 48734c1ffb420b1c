"""A Python without what Windows lacks. It cannot be tested on Windows itself here, but no call that it lacks may be made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from .toy import SHORT, SIZES, corpus

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
import filelock, matplotlib.figure, numpy, rich.progress, safetensors.torch, torch, tyro

LACKS = {
    os: "O_DIRECTORY O_NOFOLLOW chown confstr fchmod fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getuid "
    "killpg mkfifo nice register_at_fork sched_getaffinity setsid statvfs sysconf",
    signal: "SIGALRM SIGHUP SIGKILL SIGUSR1 pthread_sigmask setitimer",
}
for module, names in LACKS.items():
    for name in names.split():
        if hasattr(module, name):  # macOS lacks some, too
            delattr(module, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None

def refusing(call, refused):
    def checked(path, *rest, **more):
        if refused(path):
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *rest, **more)
    return checked

os.open = refusing(os.open, os.path.isdir)
for name in ("read_bytes", "write_bytes"):
    setattr(Path, name, refusing(getattr(Path, name), lambda path: path.name == "run.lock"))

import hypernetworks as hn
from hypernetworks.cli import main
from hypernetworks.runs import lock

lock._BINDING = True
hn.HyperLSTM(4, 8)(torch.randn(3, 2, 4))[0].sum().backward()
for given in json.loads(sys.argv[1]):
    code = main(given)
    assert code == 0, (code, given)
"""


def test_nothing_is_called_that_windows_lacks(place: Path, tmp_path: Path) -> None:
    new = str(place / "new")
    commands = [
        ["doctor"],
        ["data", "list"],
        ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", new],
        ["text", "train", "--resume", "--out", new],
        ["text", "evaluate", new],
        ["text", "generate", new, "--length", "5"],
        ["text", "report", new, "--length", "5"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        env=os.environ | {"HYPERNETWORKS_BACKEND": "auto", "XDG_CACHE_HOME": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reason = "the kernels are compiled on Linux and macOS only"
    assert f"no native kernels, the reference path serves: {reason}\n" in done.stderr
    assert done.stderr.count("no native kernels") == 1
    assert f"none, using plain torch: {reason}\n" in done.stdout
    one, other = (load_file(place / name / "model.safetensors") for name in ("run", "new"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not (place / "new" / "run.lock").exists() or not (place / "new" / "run.lock").read_bytes()
