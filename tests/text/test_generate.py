"""Generation: the laws of sampling, the prompt read once, and one step a character."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.text.generate import Sampling, generate, generate_ids, probabilities
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

LOGITS = st.lists(st.integers(-1000, 1000), min_size=2, max_size=12, unique=True).map(
    lambda values: torch.tensor(values, dtype=torch.float64) / 50  # no two so near that their probabilities are equal
)
ALPHABET = tuple("\nabcdefg")


def model(network: str = "hyper-lstm", symbols: int = len(ALPHABET)) -> CharacterModel:
    """Weights large enough that what comes depends on what came."""
    made = CharacterModel(
        CharacterModelConfig(network, 8, embedding_size=6, hyper_size=4, hyper_embedding_size=2), symbols
    )
    with torch.no_grad():
        made.head.weight.mul_(8)
    return made.eval()


def text(made: CharacterModel, prompt: str, **settings: Any) -> str:
    return "".join(generate(made, ALPHABET, "character", prompt, Sampling(**settings)))


@given(LOGITS, st.floats(0.1, 5), st.integers(0, 14), st.floats(0.01, 1))
def test_probabilities_are_a_cut_softmax(logits: Tensor, temperature: float, top_k: int, top_p: float) -> None:
    """Sum 1, in the order of the logits, and in proportion to exp(logit/temperature) where not cut to 0."""
    p = probabilities(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    assert (p >= 0).all()
    ordered = p[logits.argsort(descending=True)].tolist()
    assert all(a >= b for a, b in pairwise(ordered))
    kept = p > 0
    assert kept[logits.argmax()]
    ratios = (p.log() - logits / temperature)[kept]
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=0, atol=1e-9)


@given(LOGITS, st.integers(1, 14))
def test_top_k_keeps_the_k_most_probable(logits: Tensor, top_k: int) -> None:
    p = probabilities(logits, Sampling(temperature=20.0, top_k=top_k))
    assert p.count_nonzero() == min(top_k, len(logits))
    if top_k < len(logits):
        assert logits[p > 0].min() > logits[p == 0].max()


@given(LOGITS, st.floats(0.01, 0.99), st.floats(0.2, 5))
def test_top_p_keeps_the_fewest_that_hold_it(logits: Tensor, top_p: float, temperature: float) -> None:
    full = sorted((logits / temperature).softmax(0).tolist(), reverse=True)
    fewest = next(n for n in range(1, len(full) + 1) if math.fsum(full[:n]) >= top_p or n == len(full))
    assume(all(abs(math.fsum(full[:n]) - top_p) > 1e-9 for n in range(1, len(full))))
    p = probabilities(logits, Sampling(temperature=temperature, top_p=top_p))
    assert p.count_nonzero() == fewest


@pytest.mark.parametrize(("top_p", "kept"), [(0.4999, 1), (0.5001, 2), (0.7499, 2), (0.7501, 3), (0.8751, 4), (1, 4)])
def test_top_p_counts_what_comes_before(top_p: float, kept: int) -> None:
    halves = torch.tensor([0.125, 0.5, 0.125, 0.25], dtype=torch.float64)
    assert probabilities(halves.log(), Sampling(temperature=1, top_p=top_p)).count_nonzero() == kept


@given(LOGITS)
def test_temperature_0_takes_the_most_probable(logits: Tensor) -> None:
    p = probabilities(logits, Sampling(temperature=0, top_k=3, top_p=0.2))
    assert p.tolist() == [float(logit == logits.max()) for logit in logits]
    torch.testing.assert_close(probabilities(logits, Sampling(temperature=1)), logits.softmax(0))


def test_characters_are_drawn_as_often_as_they_are_probable() -> None:
    """A model that always answers the same: counts of 2000 draws within 5 standard deviations."""
    made = model("lstm")
    p = torch.tensor([0.05, 0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05])
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias.copy_(p.log())
    drawn = torch.tensor(list(generate_ids(made, torch.tensor([0]), Sampling(2000, temperature=1.0))))
    counts = torch.bincount(drawn, minlength=len(ALPHABET))
    assert ((counts - 2000 * p).abs() < 5 * (2000 * p * (1 - p)).sqrt()).all()


def test_the_prompt_is_read_once_and_each_character_costs_one_step() -> None:
    made, lengths = model(), []
    made.embedding.register_forward_hook(lambda module, given, _: lengths.append(tuple(given[0].shape)))
    assert len(text(made, "abcab", length=7)) == 7
    assert lengths == [(5, 1)] + [(1, 1)] * 6


@pytest.mark.parametrize("network", ["lstm", "rhn", "hyper-lstm", "hyper-rhn"])
def test_text_equals_that_of_reading_all_again_for_every_character(network: str) -> None:
    made = model(network)
    sampling = Sampling(40, temperature=0.9, seed=3)
    ids, draws = [1, 2, 3], torch.Generator().manual_seed(3)
    for _ in range(40):
        with torch.no_grad():
            logits, _ = made(torch.tensor(ids).unsqueeze(1))
        ids.append(int(torch.multinomial((logits[-1, 0].double() / 0.9).softmax(0), 1, generator=draws)))
    assert list(generate_ids(made, torch.tensor([1, 2, 3]), sampling)) == ids[3:]


def test_the_seed_alone_decides_what_is_drawn() -> None:
    made = model()
    torch.manual_seed(1)
    first = text(made, "ab", length=60, seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert text(made, "ab", length=60, seed=5) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert text(made, "ab", length=60, seed=6) != first
    assert text(made, "ab", length=30, seed=5) == first[:30]


def test_an_empty_prompt_begins_a_line_or_with_the_first_symbol() -> None:
    made = model()
    assert text(made, "", length=30) == text(made, "\n", length=30)
    letters = tuple("abcdefgh")
    made_of = [list(generate(made, letters, "character", prompt, Sampling(30))) for prompt in ("", "a")]
    assert made_of[0] == made_of[1]


def test_unknown_characters_of_the_prompt_are_named() -> None:
    with pytest.raises(UsageError, match=r"'x' at 1, 'é' at 3; expected one of '\\nabcdefg'"):
        text(model(), "axbé")


def test_a_model_of_bytes_gives_whole_characters() -> None:
    """A model that says "né…" over and over, byte by byte: nothing comes before a character's last byte."""
    cycle = "né…".encode()
    alphabet = tuple(sorted({chr(byte) for byte in cycle}))
    made = model("lstm", len(alphabet))
    turns = iter([cycle[i % len(cycle)] for i in range(1, 100)])

    def head(h: Tensor) -> Tensor:
        logits = torch.full((*h.shape[:-1], len(alphabet)), -1e9)
        logits[-1, ..., alphabet.index(chr(next(turns)))] = 0
        return logits

    made.head.forward = head  # type: ignore[method-assign]
    pieces = list(generate(made, alphabet, "byte", "n", Sampling(8)))
    assert [piece for piece in pieces if piece] == ["é", "…", "n", "é"]
    cut = "".join(generate(made, alphabet, "byte", "né", replace(Sampling(), length=1)))
    assert cut == "\ufffd"  # the first byte of three


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 0}, "length should be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature should be a finite number of at least 0, got -1.0"),
        ({"temperature": float("inf")}, "temperature should be a finite"),
        ({"temperature": float("nan")}, "temperature should be a finite"),
        ({"top_k": -1}, r"top_k should be at least 0 \(0: all\), got -1"),
        ({"top_p": 0.0}, r"top_p should be in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p should be in \(0, 1\], got 1.5"),
        ({"seed": 2**64}, "seed should fit into 64 bits, got 18446744073709551616"),
    ],
)
def test_impossible_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sampling(**changes)


@pytest.mark.parametrize("seed", [-(2**63), 2**64 - 1])
def test_the_ends_of_what_a_seed_may_be(seed: int) -> None:
    assert len(text(model(), "a", length=3, seed=seed)) == 3


@pytest.mark.parametrize("temperature", [1e-320, 1e-300, 1e300])
def test_no_temperature_is_too_low_or_too_high(temperature: float) -> None:
    p = probabilities(torch.tensor([1.0, 3.0, 2.0]), Sampling(temperature=temperature))
    assert p.sum().item() == pytest.approx(1)
    assert p.tolist() == pytest.approx([0, 1, 0] if temperature < 1 else [1 / 3] * 3)
