"""Coloured text: the changes are those of the matrices made in full, each at the character that its step generated."""

import pytest
import torch

from hypernetworks.errors import UsageError
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.text.coloured import (
    CHUNK,
    LONGEST_TEXT,
    Letter,
    coloured_sample,
    coloured_text,
    full_colour,
    gates_of,
    weight_changes,
)
from hypernetworks.text.config import Symbols
from hypernetworks.text.generate import Sampling, generate
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

SYMBOLS = Symbols(tuple("\nabcdefg"), "character")
LSTM_GATES = ["input gate i", "forget gate f", "candidate g", "output gate o"]
GATES = {
    "hyper-lstm": LSTM_GATES,
    "hyper-lstm-without-norm": LSTM_GATES,
    "hyper-gru": ["reset gate r", "update gate u", "candidate n"],
    "hyper-rnn": ["candidate h"],
    "hyper-rnn-full": ["candidate h"],
    "hyper-rhn": [
        "candidate of depth 1 h1",
        "transform gate of depth 1 t1",
        "candidate of depth 2 h2",
        "transform gate of depth 2 t2",
    ],
}


def model(network="hyper-lstm", symbols=8, **settings):
    config = CharacterModelConfig(
        network, 6, embedding_size=5, hyper_size=4, hyper_embedding_size=2, depth=2, **settings
    )
    made = CharacterModel(config, symbols).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


def changes_in_full(made, ids):
    """‖ΔW‖ over the larger ‖W‖, of W = diag(d_h) W_h of every gate and step, of a network that reads symbol by symbol."""
    states, state = [], None
    with torch.no_grad():
        for t in range(len(ids)):
            _, state = made.network(made.embedding(ids[t : t + 1].unsqueeze(1)), state)
            states.append(state.hyper_h[:, 0])
        layers = []
        for k, cell in enumerate(made.network.cells):
            hyper, H = cell.hyper, cell.hidden_size
            W = cell.main.weight_h.view(4, H, H)
            hyper_h = torch.stack([torch.zeros_like(states[0]), *states])[:, k]
            d = torch.stack([hyper.D[y] @ (hyper.P[y] @ h + hyper.p[y]) for h in hyper_h for y in range(4)])
            layers.append(d.view(len(hyper_h), 4, H, 1) * W)
    matrices = torch.stack(layers, 2).flatten(2)  # (time, gate, layer · H · H)
    return matrices.diff(dim=0).norm(dim=-1) / matrices.norm(dim=-1).unfold(0, 2, 1).amax(-1)


@pytest.mark.parametrize("layers", [1, 2])
def test_changes_are_those_of_the_matrices_over_all_layers(layers):
    made, ids = model(num_layers=layers), torch.randint(len(SYMBOLS.alphabet), (CHUNK + 20,))  # over two chunks
    torch.testing.assert_close(weight_changes(made, ids), changes_in_full(made, ids), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_every_network_has_a_change_for_each_gate_or_none_at_all(network):
    made = model(network)
    first, letter = coloured_text(made, SYMBOLS, torch.tensor([3, 4]))
    assert (first.text, letter.text) == ("c", "d")
    assert first.changes == ()
    assert len(letter.changes) == len(gates_of(made))
    assert gates_of(made) == GATES.get(network, [])
    assert all(change > 0 for change in letter.changes)


def test_a_character_has_the_change_of_the_step_that_generated_it():
    """That step reads the character before: the last character, which no step has read, has a change, the first has none."""
    made, ids = model(), torch.tensor([1, 4, 2, 7])
    changes = changes_in_full(made, ids)
    found = coloured_text(made, SYMBOLS, ids)
    assert [letter.text for letter in found] == [SYMBOLS.alphabet[i] for i in ids]
    assert found[0].changes == ()
    for letter, change in zip(found[1:], changes[:-1].tolist(), strict=True):
        assert letter.changes == pytest.approx(change)


def test_a_sample_is_the_text_that_the_model_writes_with_the_changes_of_its_steps():
    made, sampling = model(), Sampling(length=30, temperature=2.0, seed=5)
    found = coloured_sample(made, SYMBOLS, sampling)
    written = "".join(generate(made, SYMBOLS.alphabet, SYMBOLS.unit, "", sampling))
    assert "".join(letter.text for letter in found) == written
    read = coloured_text(made, SYMBOLS, torch.tensor([SYMBOLS.alphabet.index(c) for c in "\n" + written]))
    assert [letter.changes for letter in found] == [pytest.approx(letter.changes) for letter in read[1:]]


def test_a_character_of_several_bytes_has_the_largest_change_of_its_bytes():
    symbols = Symbols(tuple(map(chr, range(256))), "byte")
    made = model(symbols=256)
    content = "aé€".encode() + b"\xff\xe2"  # 1, 2 and 3 bytes, one that is no UTF-8, one that begins what never comes
    ids = torch.tensor(list(content))
    changes = weight_changes(made, ids[:-1])
    found = coloured_text(made, symbols, ids)
    assert "".join(letter.text for letter in found) == "aé€\ufffd\ufffd"
    assert found[0].changes == ()
    for letter, part in zip(found[1:], changes.split([2, 3, 1, 1]), strict=True):
        assert letter.changes == tuple(part.amax(0).tolist())


def test_the_full_colour_is_of_the_changes_that_are_there_and_above_zero():
    found = [Letter("a", ()), *(Letter("b", (k / 100, 0.0)) for k in range(101))]
    assert full_colour(found) == (pytest.approx(0.95), pytest.approx(0, abs=1e-30))
    assert min(full_colour(found)) > 0
    assert full_colour([Letter("a", ())]) == ()


@pytest.mark.parametrize("length", [0, LONGEST_TEXT + 1])
def test_a_text_of_no_or_too_many_characters_is_refused(length):
    with pytest.raises(UsageError, match=f"text should have 1 to 10,000 characters to be coloured, got {length:,}"):
        coloured_text(model(), SYMBOLS, torch.zeros(length, dtype=torch.uint8))
