"""The command `hypernetworks text strips`: a text in strips, one for each gate, dark where its weights changed."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.analysis import RelativeChange
from hypernetworks.analysis.plots import strips
from hypernetworks.errors import UsageError
from hypernetworks.files import read_whole, write_whole
from hypernetworks.runs.curve import svg_of
from hypernetworks.terminal import shown
from hypernetworks.text.alphabet import encode, text_of_bytes
from hypernetworks.text.coloured import coloured_sample, coloured_text
from hypernetworks.text.config import Symbols
from hypernetworks.text.experiment import load_run
from hypernetworks.text.generate import Sampling
from hypernetworks.training.device import find_device

__all__ = ["Strips", "given_text"]

FILE_NAME = re.compile(r"\S+\.[A-Za-z]\w{0,4}")
"""What looks like the name of a file: one word that ends with a suffix such as .txt."""


@dataclass(frozen=True)
class Strips:
    """Draw a text in strips, one for each gate, dark where its weights changed (figure 4 of arXiv 1609.09106).

    The colour of a character is the change in the step that generated it, or predicted it, relative to the weights. The text is
    a sample of the run's model, and is printed; or give one with --text.
    """

    run: Positional[Path]
    """The folder of a run of a hyper network."""
    text: str | None = None
    """A text to read instead of a sample: a UTF-8 file, or the text itself."""
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)
    out: Path | None = None
    """The picture's file; default: strips.svg in the run's folder."""
    device: str = "auto"
    """cpu, cuda, …; auto uses cuda if available."""

    def __call__(self) -> None:
        """Write the picture, and print the text and the path."""
        model, config, symbols = load_run(self.run)
        gates = RelativeChange(model.network).gates
        if not gates:
            raise UsageError(f"{self.run}: {config.model.network} generates no weights: there is no change to draw")
        model = model.to(find_device(self.device))
        if self.text is None:
            letters = coloured_sample(model, symbols, self.sampling)
        else:
            letters = coloured_text(model, symbols, given_text(self.text, symbols)[1])
        # the changes of a word are below each of its characters, so that lines of any text are equally long
        letters = [letter._replace(text=character) for letter in letters for character in letter.text]
        unknown = (float("nan"),) * len(gates)
        changes = torch.tensor([letter.changes or unknown for letter in letters])
        try:
            picture = svg_of(strips(changes, gates, [letter.text for letter in letters]))
        except ImportError as error:
            raise UsageError("strips need matplotlib: pip install 'hypernetworks[plot]'") from error
        out = self.out or self.run / "strips.svg"
        write_whole(out, picture.encode())
        print(shown("".join(letter.text for letter in letters)))
        print(f"strips: {out}")


def given_text(text: str, symbols: Symbols) -> tuple[str, Tensor]:
    """The title and the symbol ids of a text, which is a UTF-8 file or the text itself.

    Raises:
        UsageError: there is no such file, it is not UTF-8, or the text has characters that the alphabet lacks.
    """
    title = "The given text"
    if os.path.isfile(text):  # noqa: PTH113  # Path.is_file raises if the text is too long for a path
        title = text
        text = text_of_bytes(read_whole(Path(title)), Path(title))
    elif FILE_NAME.fullmatch(text):
        raise UsageError(
            f"no such file: {text}; a text itself should not look like a file's name, so add a space to it"
        )
    return title, encode(text, symbols.alphabet, symbols.unit)
