"""Text generation: the prompt is read once, then each character takes one step.

p = softmax(logits / temperature), cut to the top_k most probable and to the smallest set of probability top_p, renormalised
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernetworks.errors import UsageError, check_count
from hypernetworks.text.alphabet import Unit, encode
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.stepper import Weights, read_step, stepper


@dataclass(frozen=True)
class Sampling:
    """How characters are drawn.

    Example:
        >>> from hypernetworks.text import Sampling
        >>> Sampling(length=200, temperature=0.7, top_k=20).top_p
        1.0

    Raises:
        UsageError: a setting is invalid.
    """

    length: int = 500
    """The number of characters to generate."""
    temperature: float = 0.8
    """Below 1 favours probable characters, above 1 improbable ones; 0: always the most probable."""
    top_k: int = 0
    """Draw from the k most probable characters only; 0: from all."""
    top_p: float = 1.0
    """Draw from the smallest set of characters with this total probability; 1: from all."""
    seed: int = 0
    """Equal seed, model and settings give equal text on the same machine."""

    def __post_init__(self) -> None:
        check_count("length", self.length)
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature should be a finite number of at least 0, got {self.temperature}")
        if self.top_k < 0:
            raise UsageError(f"top_k should be at least 0 (0: all), got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p should be in (0, 1], got {self.top_p}")
        if not -(2**63) <= self.seed < 2**64:
            raise UsageError(f"seed should fit into 64 bits, got {self.seed}")


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution of the next character, (V,), float64, from its logits (V,)."""
    logits = logits.double()
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).double()
    logits = logits - logits.max()  # the largest becomes 0, so no temperature makes it infinite
    p = torch.softmax(logits / sampling.temperature, dim=0)
    if sampling.top_k == 0 and sampling.top_p == 1:
        return p
    p, order = p.sort(descending=True, stable=True)
    if sampling.top_k:
        p[sampling.top_k :] = 0
        p /= p.sum()
    p[p.cumsum(0) - p >= sampling.top_p] = 0  # always keeps the first character
    return torch.zeros_like(p).scatter(0, order, p / p.sum())


class Draws:
    """Draws one id after another from logits (V,)."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def __call__(self, logits: Tensor) -> int:
        """The next id."""
        return int(torch.multinomial(probabilities(logits.cpu(), self.sampling), 1, generator=self._generator))


def generate_ids(
    model: CharacterModel, prompt: Tensor, sampling: Sampling, weights: Weights = "float32"
) -> Iterator[int]:
    """Generate ids after a prompt (length,), which is not included. The model should be in evaluation mode.

    The prompt is read in one call. Each further character is one step of a stepper that stores the weights as `weights`.
    """
    draw = Draws(sampling)
    device = model.head.weight.device
    step = stepper(model, 1, weights)
    with torch.inference_mode():
        logits, step.state = model(prompt.long().to(device).unsqueeze(1))
        drawn = draw(logits[-1, 0])
    yield drawn
    for _ in range(sampling.length - 1):
        with torch.inference_mode():
            h = read_step(model, step, torch.tensor([drawn], device=device))
            drawn = draw(model.head(h)[0])
        yield drawn


def generate(
    model: CharacterModel,
    alphabet: tuple[str, ...],
    unit: Unit,
    prompt: str,
    sampling: Sampling,
    weights: Weights = "float32",
) -> Iterator[str]:
    """Generate text after a prompt, which is not included.

    Args:
        model: the model, in evaluation mode.
        alphabet: the symbols of the model.
        unit: character, byte or word. A model of bytes yields a character when its last byte is complete.
        prompt: the text to continue. If it is empty, generation starts after a newline, or after the first symbol if the
            alphabet has no newline.
        sampling: how to draw.
        weights: how the weights are stored, see `stepper`.

    Yields:
        The text in pieces, as they are generated.

    Raises:
        UsageError: the prompt has characters that the alphabet lacks.

    Example:
        >>> from hypernetworks.text import CharacterModel, CharacterModelConfig, Sampling
        >>> alphabet = tuple("abcdefgh ")
        >>> model = CharacterModel(CharacterModelConfig(hidden_size=32), symbols=len(alphabet)).eval()
        >>> len("".join(generate(model, alphabet, "character", "a bed", Sampling(length=20))))
        20
    """
    ids = generate_ids(model, prompt_ids(prompt, alphabet, unit), sampling, weights)
    return _texts(ids, Spelling(alphabet, unit))


def prompt_ids(prompt: str, alphabet: tuple[str, ...], unit: Unit) -> Tensor:
    """The ids that the model reads first, (length,), see `generate`."""
    return encode(prompt, alphabet, unit) if prompt else torch.tensor([_first_id(alphabet)])


class Spelling:
    """Converts ids to text one by one. A character of several bytes appears with its last byte."""

    def __init__(self, alphabet: tuple[str, ...], unit: Unit) -> None:
        self._alphabet = alphabet
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if unit == "byte" else None

    def __call__(self, id: int) -> str:
        """The text that this id completes."""
        symbol = self._alphabet[id]
        return symbol if self._decoder is None else self._decoder.decode(symbol.encode("latin-1"))

    def end(self) -> str:
        """The replacement character, if the text ends inside a character; else nothing."""
        return "" if self._decoder is None else self._decoder.decode(b"", final=True)


def _texts(ids: Iterator[int], spelling: Spelling) -> Iterator[str]:
    for id in ids:
        if text := spelling(id):
            yield text
    if rest := spelling.end():
        yield rest


def _first_id(alphabet: tuple[str, ...]) -> int:
    return alphabet.index("\n") if "\n" in alphabet else 0
