"""Text from a model, character by character: the prompt is read once, then each new character costs one step.

p = softmax(logits / temperature), cut to the top_k most probable and to the smallest set that holds top_p, renormalised
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernetworks.errors import UsageError, check_count
from hypernetworks.text.alphabet import Unit, encode
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.stepper import Weights, stepper


@dataclass(frozen=True)
class Sampling:
    """How characters are drawn. Impossible settings fail when made, with a UsageError."""

    length: int = 500
    """How many characters to make."""
    temperature: float = 0.8
    """Below 1 more of what is probable, above 1 less; 0 always takes the most probable."""
    top_k: int = 0
    """Draw from the k most probable characters only; 0: from all."""
    top_p: float = 1.0
    """Draw from the fewest characters that together have this probability; 1: from all."""
    seed: int = 0
    """The same seed, model and settings make the same text on the same machine."""

    def __post_init__(self) -> None:
        check_count("length", self.length)
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature should be a finite number of at least 0, got {self.temperature}")
        if self.top_k < 0:
            raise UsageError(f"top_k should be at least 0 (0: all), got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p should lie in (0, 1], got {self.top_p}")
        if not -(2**63) <= self.seed < 2**64:
            raise UsageError(f"seed should fit into 64 bits, got {self.seed}")


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """What the next character is drawn from, (V,), float64, from its logits (V,)."""
    logits = logits.double()
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).double()
    logits = logits - logits.max()  # the largest is 0 then, and no temperature makes it infinite
    p = torch.softmax(logits / sampling.temperature, dim=0)
    if sampling.top_k == 0 and sampling.top_p == 1:
        return p
    p, order = p.sort(descending=True, stable=True)
    if sampling.top_k:
        p[sampling.top_k :] = 0
        p /= p.sum()
    p[p.cumsum(0) - p >= sampling.top_p] = 0  # the first character is always kept
    return torch.zeros_like(p).scatter(0, order, p / p.sum())


class Draws:
    """Draws characters one after another: their ids, from the logits (V,) of each."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def __call__(self, logits: Tensor) -> int:
        """The next id."""
        return int(torch.multinomial(probabilities(logits.cpu(), self.sampling), 1, generator=self._generator))


def generate_ids(
    model: CharacterModel, prompt: Tensor, sampling: Sampling, weights: Weights = "float32"
) -> Iterator[int]:
    """Draw characters one after another, as ids; the prompt, (length,), is not given back. The model should be in eval.

    The prompt is read in one call. Each character after it is one step of a stepper that stores the weights as `weights`.
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
            h = step(model.embedding(torch.tensor([[drawn]], device=device))[0])
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
    """Make text that goes on after the prompt, in pieces as they come; the prompt itself is not given back.

    alphabet, unit: the corpus's. An empty prompt begins after a newline, or, where the alphabet has none, after its first
    symbol. A model of bytes gives a character back when its last byte is there. weights: as for `generate_ids`.

    Raises:
        UsageError: the prompt has characters that the alphabet has not.
    """
    ids = generate_ids(model, prompt_ids(prompt, alphabet, unit), sampling, weights)
    return _texts(ids, Spelling(alphabet, unit))


def prompt_ids(prompt: str, alphabet: tuple[str, ...], unit: Unit) -> Tensor:
    """What the model reads first, (length,), as `generate` tells."""
    return encode(prompt, alphabet, unit) if prompt else encode(_first_symbol(alphabet), alphabet)


class Spelling:
    """Ids to text, one after another. A character of several bytes comes with its last byte; until then nothing does."""

    def __init__(self, alphabet: tuple[str, ...], unit: Unit) -> None:
        self._alphabet = alphabet
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if unit == "byte" else None

    def __call__(self, id: int) -> str:
        """The text that this id completes."""
        symbol = self._alphabet[id]
        return symbol if self._decoder is None else self._decoder.decode(symbol.encode("latin-1"))

    def end(self) -> str:
        """What stands for a character that the text ends within."""
        return "" if self._decoder is None else self._decoder.decode(b"", final=True)


def _texts(ids: Iterator[int], spelling: Spelling) -> Iterator[str]:
    for id in ids:
        if text := spelling(id):
            yield text
    if rest := spelling.end():
        yield rest


def _first_symbol(alphabet: tuple[str, ...]) -> str:
    return "\n" if "\n" in alphabet else alphabet[0]
