"""A trained character model with what it needs to read and write text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

import torch

from hypernetworks.errors import UsageError
from hypernetworks.experiments.commands import check_split
from hypernetworks.files import named_folder
from hypernetworks.text.alphabet import Unit, symbol_name
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.evaluate import TextScore, evaluate, in_characters
from hypernetworks.text.experiment import TEXT, load_run
from hypernetworks.text.generate import Sampling, generate
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.published import Published, published
from hypernetworks.text.stepper import Weights
from hypernetworks.text.translate import ids_of

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False, repr=False)
class TrainedText:
    """A trained character model: it continues texts and scores them. `hn.load(folder)` makes it from a run.

    Args:
        model: in evaluation mode.
        settings: of the run.
        symbols: what the model reads and predicts.
        folder: of the run; None if there is none, and then `evaluate` needs a text.

    Example:
        >>> from hypernetworks.text import CharacterModel, CharacterModelConfig, TextConfig, TrainedText
        >>> from hypernetworks.text.config import Symbols
        >>> config = TextConfig(model=CharacterModelConfig("lstm", hidden_size=8))
        >>> lm = TrainedText(CharacterModel(config.model, 3).eval(), config, Symbols(("a", "b", "c"), "character"))
        >>> len(lm.generate("ab", length=5)), lm.evaluate("abcab").characters        # hn.load("runs/first") loads a trained one
        (5, 4)
    """

    model: CharacterModel
    settings: TextConfig
    symbols: Symbols
    folder: Path | None = None

    @classmethod
    def from_run(cls, folder: str | Path) -> Self:
        """The best model of a run.

        Raises:
            UsageError: the folder holds no run of the text experiment, or no model yet.
        """
        return cls(*load_run(folder), Path(folder))

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols; the model's ids are indices into it."""
        return self.symbols.alphabet

    @property
    def unit(self) -> Unit:
        """What a symbol is: a character, a byte of UTF-8, or a word (then all other characters are symbols, too)."""
        return self.symbols.unit

    def to(self, device: str | torch.device) -> Self:
        """Move the model to a device; return self."""
        self.model.to(device)
        return self

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        weights: Weights = "float32",
    ) -> str:
        """Continue a text.

        Args:
            prompt: what the model reads first; empty: a newline.
            length: the number of symbols to generate.
            temperature: below 1 favours probable characters, above 1 improbable ones; 0: always the most probable.
            top_k: draw from the k most probable characters only; 0: from all.
            top_p: draw from the smallest set of characters with this total probability; 1: from all.
            seed: equal seed, model and settings give equal text on the same machine.
            weights: how the weights are stored: "float32", or "bfloat16" or "int8", which are faster on the CPU but round them.

        Returns:
            The text after the prompt.

        Raises:
            UsageError: a setting is invalid, or the prompt has characters that the alphabet lacks.
        """
        return "".join(self.stream(prompt, Sampling(length, temperature, top_k, top_p, seed), weights))

    def stream(self, prompt: str = "", sampling: Sampling | None = None, weights: Weights = "float32") -> Iterator[str]:
        """The same in pieces, as they are generated; with `hypernetworks.text.Sampling()` if no sampling is given."""
        return generate(self.model, self.alphabet, self.unit, prompt, sampling or Sampling(), weights)

    def evaluate(
        self,
        text: str | None = None,
        *,
        split: Split | None = None,
        characters: int = 0,
        data_dir: str | Path | None = None,
        weights: Weights = "float32",
    ) -> TextScore:
        """Score the model on a text: one stream, in which every symbol except the first is predicted once.

        Args:
            text: the text itself; None: a split of the text that the run was trained on.
            split: "train", "validation" (default) or "test".
            characters: read the first N symbols only; 0: all. What is not read may have any characters.
            data_dir: where to look for a named data set first.
            weights: how the weights are stored, see `generate`.

        Raises:
            UsageError: the text has fewer than two symbols or a character that the alphabet lacks, the run's text was not found
                or has changed, or the arguments contradict each other.
        """
        if text is not None and split is not None:
            raise UsageError(f"give a text or a split, got both: a text and split={split!r}")
        if characters < 0:
            raise UsageError(f"characters should be at least 0 (0: all), got {characters}")
        if text is not None:
            ids = ids_of(text, "character", self.symbols, characters)
        else:
            check_split(split or "validation")
            if self.folder is None:
                raise UsageError("this model has no run whose text could be read: give a text")
            corpus = TEXT.data_of(self.folder, None if data_dir is None else Path(data_dir))
            ids = getattr(corpus, split or "validation")[: characters or None]
        return in_characters(evaluate(self.model, ids, weights), ids, self.symbols)

    def save_pretrained(self, folder: str | Path, *, license: str | None = None, test: TextScore | None = None) -> None:
        """Write the model and a model card to a new folder, which `hn.load` and the commands read as they read a run.

        The folder has config.json, model.safetensors, metrics.jsonl and README.md. It names no folder of this machine, and not
        its processor. It cannot be resumed.

        Args:
            folder: new or empty.
            license: of the weights, as the Hub names licences, for example "mit"; None: the card says that none is stated.
            test: the score on the test split, for the card: `lm.evaluate(split="test")`.

        Raises:
            UsageError: the folder holds something, the model has no run, or the extra `hub` is not installed.
            FaultError: a file could not be written.
        """
        _hub().save(self._published(), named_folder(folder), license, test)

    def push_to_hub(
        self, repo_id: str, *, license: str | None = None, test: TextScore | None = None, **options: Any
    ) -> str:
        """Upload the same to the Hugging Face Hub. The repository is made if there is none.

        Args:
            repo_id: OWNER/NAME.
            license, test: as for `save_pretrained`.
            options: those of `huggingface_hub.ModelHubMixin.push_to_hub`, for example `private=True`, `commit_message` or
                `ignore_patterns="README.md"`, which keeps a card that was edited on the Hub.

        Returns:
            The address of the commit.

        Raises:
            UsageError: the name has no owner, the model has no run, or the extra `hub` is not installed.
        """
        return _hub().push(self._published(), repo_id, license, test, **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Self:
        """The model in a folder, or on the Hugging Face Hub.

        Args:
            name: a folder of `save_pretrained` or of a run; if there is none, OWNER/NAME of a model on the Hub.
            options: those of `huggingface_hub.snapshot_download`, for example `revision` or `token`.

        Raises:
            UsageError: the folder or the repository holds no text model, or the extra `hub` is not installed.
            FaultError: the model could not be downloaded.
        """
        place = named_folder(name)
        return cls.from_run(place if place.is_dir() else _hub().fetch(str(name), **options))

    def _published(self) -> Published:
        if self.folder is None:
            raise UsageError("this model has no run that a card could describe: load it from one with hn.load")
        return published(self.model, self.folder)

    def __repr__(self) -> str:
        """Network, size and alphabet."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        place = "" if self.folder is None else f", {str(self.folder)!r}"
        network, symbols = self.settings.model.network, f"{len(self.alphabet)} {symbol_name(self.unit)}s"
        return f"TrainedText({network}, {parameters:,} parameters, {symbols}{place})"


def _hub() -> ModuleType:
    """The module that needs huggingface_hub; UsageError if that is not installed."""
    try:
        from hypernetworks.text import hub
    except ImportError as error:
        raise UsageError("the Hub needs huggingface_hub: pip install 'hypernetworks[hub]'") from error
    return hub
