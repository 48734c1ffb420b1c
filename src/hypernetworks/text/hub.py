"""Trained text models on the Hugging Face Hub, through its own package (the extra `hub`).

`TrainedText.save_pretrained`, `push_to_hub` and `from_pretrained` describe the arguments.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HFValidationError

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import write_whole
from hypernetworks.text.card import model_card
from hypernetworks.text.evaluate import TextScore
from hypernetworks.text.published import Published, new_folder

__all__ = ["fetch", "push", "save"]


class Hosted(ModelHubMixin):
    """What the mixin saves and uploads: a folder that `write` fills.

    It is given no model: the mixin would copy a dataclass to look for settings in it.
    """

    def __init__(self, write: Callable[[Path], None]) -> None:
        self._write = write

    def _save_pretrained(self, save_directory: Path) -> None:
        self._write(save_directory)


def save(shown: Published, folder: Path, license: str | None, test: TextScore | None) -> None:
    """Write a model and its card to a new folder.

    Raises:
        UsageError: the folder holds something.
        FaultError: a file could not be written.
    """
    new_folder(folder)  # before the mixin removes a config.json
    name = folder.resolve().name
    load = f"import hypernetworks as hn\n\nlm = hn.load({json.dumps(name)})"
    _hosted(shown, model_card(shown, name, load, license, test)).save_pretrained(folder)


def push(shown: Published, repo_id: str, license: str | None, test: TextScore | None, **options: Any) -> str:
    """Upload a model and its card; return the address of the commit.

    Raises:
        UsageError: the name has no owner.
    """
    owner, _, name = repo_id.partition("/")
    if not (owner and name):
        raise UsageError(f"repo_id should be OWNER/NAME, got {repo_id!r}")
    load = f"from hypernetworks.text import TrainedText\n\nlm = TrainedText.from_pretrained({json.dumps(repo_id)})"
    return _hosted(shown, model_card(shown, name, load, license, test)).push_to_hub(repo_id, **options)


def fetch(name: str, **options: Any) -> Path:
    """The folder of the Hub's cache with the files of a model, which are downloaded if it lacks them.

    Raises:
        UsageError: the Hub has no such names.
        FaultError: the model is not on the Hub, or could not be downloaded.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=["config.json", "*.jsonl", "*.safetensors"], **options))
    except HFValidationError as error:
        raise UsageError(f"{name}: no folder, and not the name of a model on the Hub, OWNER/NAME") from error
    except OSError as error:  # those of the Hub and of the connection, too
        reason = str(error).strip().partition("\n")[0]
        raise FaultError(f"{name}: no folder, and not fetched from the Hub: {reason}") from error


def _hosted(shown: Published, card: str) -> Hosted:
    return Hosted(partial(_write, shown, card))


def _write(shown: Published, card: str, folder: Path) -> None:
    shown.write(folder)
    write_whole(folder / "README.md", card.encode())
