"""The character model: sizes and costs against closed forms and the paper's table, and what any predictor must obey."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hypernetworks.errors import UsageError
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.text.model import CharacterModel, CharacterModelConfig
from hypernetworks.text.presets import penn_treebank_parameters
from hypernetworks.text.sizes import count_parameters, flops_per_character, match_parameters

SMALL = CharacterModelConfig(hidden_size=7, embedding_size=5, hyper_size=4, hyper_embedding_size=3, depth=2)
PENN_TREEBANK = {  # the paper's table, in millions; in print the row of Z = 16 is 5.06
    "LSTM 1000": "4.25",
    "LSTM 1250": "6.57",
    "2-layer LSTM 1000": "12.26",
    "layer-norm LSTM 1000": "4.26",
    "HyperLSTM 1000": "4.91",
    "layer-norm HyperLSTM 1000": "4.92",
    "layer-norm HyperLSTM 1000, Z = 16": "5.09",
    "2-layer layer-norm HyperLSTM": "14.41",
}


def small(network: str, **changes: object) -> CharacterModelConfig:
    return replace(SMALL, network=network, **changes)


def test_parameters_are_those_of_the_papers_penn_treebank_table() -> None:
    assert {row: f"{count / 1e6:.2f}" for row, count in penn_treebank_parameters().items()} == PENN_TREEBANK


@pytest.mark.parametrize(
    ("network", "hidden", "hyper", "printed"),
    [
        ("lstm", 1800, 1, "14.81"),
        ("lstm", 2000, 1, "18.06"),
        ("hyper-lstm-without-norm", 1800, 256, "18.71"),
        ("hyper-lstm", 2048, 512, "26.54"),
    ],
)
def test_parameters_are_those_of_the_papers_enwik8_table(network: str, hidden: int, hyper: int, printed: str) -> None:
    """With the 205 bytes that enwik8 has; the two other rows of the paper's table are 0.01 and 0.05 million off."""
    sizes = {"hidden_size": hidden, "hyper_size": hyper, "hyper_embedding_size": 64}
    count = count_parameters(CharacterModelConfig(network, embedding_size=0, **sizes), 205)
    assert f"{count / 1e6:.2f}" == printed


@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_counted_parameters_are_those_of_the_model_that_is_made(network: str) -> None:
    model = CharacterModel(small(network), 11)
    assert count_parameters(small(network), 11) == sum(p.numel() for p in model.parameters())


# Multiply-adds of one character, from the matrices of each network's equations; E what it reads, H, K, Z, L its depth.
PRODUCTS: dict[str, Callable[[int, int, int, int, int], int]] = {
    "lstm": lambda E, H, K, Z, L: 4 * H * (E + H),
    "layer-norm-lstm": lambda E, H, K, Z, L: 4 * H * (E + H),
    "gru": lambda E, H, K, Z, L: 3 * H * (E + H),
    "layer-norm-gru": lambda E, H, K, Z, L: 3 * H * (E + H),
    "rnn": lambda E, H, K, Z, L: H * (E + H),
    "layer-norm-rnn": lambda E, H, K, Z, L: H * (E + H),
    "rhn": lambda E, H, K, Z, L: 2 * H * E + L * 2 * H * H,
    "hyper-lstm": lambda E, H, K, Z, L: 4 * H * (E + H) + 4 * K * (E + H + K) + 12 * (Z * K + H * Z),
    "hyper-lstm-without-norm": lambda E, H, K, Z, L: 4 * H * (E + H) + 4 * K * (E + H + K) + 12 * (Z * K + H * Z),
    "hyper-gru": lambda E, H, K, Z, L: 3 * H * (E + H) + 4 * K * (E + H + K) + 9 * (Z * K + H * Z),
    "hyper-rnn": lambda E, H, K, Z, L: H * (E + H) + 4 * K * (E + H + K) + 3 * (Z * K + H * Z),
    # Z matrices, mixed by z_h and z_x: as many multiply-adds again as they have rows
    "hyper-rnn-full": lambda E, H, K, Z, L: Z * H * (E + H) + 4 * K * (E + H + K) + 3 * Z * K + H * Z + 2 * Z * H,
    "hyper-rhn": lambda E, H, K, Z, L: 2 * H * E + L * 2 * H * H + 4 * K * (E + H + K) + (4 * L + 2) * (Z * K + H * Z),
}


@pytest.mark.parametrize("embedding", [0, 5])
@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_flops_are_two_for_every_weight_of_a_matrix(network: str, embedding: int) -> None:
    config = small(network, embedding_size=embedding)
    symbols = 11
    products = PRODUCTS[network](embedding or symbols, 7, 4, 3, 2) + 7 * symbols
    assert flops_per_character(config, symbols) == 2 * products


@pytest.mark.parametrize("network", tuple(FAMILIES))
@settings(max_examples=3)
@given(target=st.integers(150_000, 3_000_000), tied=st.booleans())
def test_a_matched_model_is_within_one_percent_and_none_is_nearer(network: str, target: int, tied: bool) -> None:
    config = CharacterModelConfig(
        network, 64, embedding_size=64, tie_weights=tied, hyper_size=16, hyper_embedding_size=4
    )
    matched = match_parameters(config, 65, target)
    assert matched == replace(config, hidden_size=matched.hidden_size, embedding_size=matched.embedding_size)
    off = abs(count_parameters(matched, 65) - target)
    assert off <= target / 100
    for hidden in (matched.hidden_size - 1, matched.hidden_size + 1):
        neighbour = replace(config, hidden_size=hidden, embedding_size=hidden if tied else 64)
        assert off <= abs(count_parameters(neighbour, 65) - target)


def test_a_number_of_parameters_that_no_model_has() -> None:
    config = CharacterModelConfig("lstm", embedding_size=0)
    # H = 1: 4 · (50 + 1 + 1) in the network, 50 + 50 in the head
    with pytest.raises(UsageError, match=r"no lstm has within 1% of 100 parameters: .* hidden_size 1, has 308$"):
        match_parameters(config, 50, 100)
    with pytest.raises(UsageError, match="larger than any tensor"):
        match_parameters(config, 50, 10**30)


def test_tied_weights_are_one_tensor_counted_once() -> None:
    plain = CharacterModelConfig("lstm", 6, embedding_size=6)
    tied = replace(plain, tie_weights=True)
    model = CharacterModel(tied, 9)
    assert model.head.weight is model.embedding.weight
    assert count_parameters(tied, 9) == count_parameters(plain, 9) - 9 * 6
    with pytest.raises(UsageError, match=r"tie_weights .* got embedding_size 5 and hidden_size 6"):
        replace(tied, embedding_size=5)


def test_one_hot_vectors_equal_an_identity_for_an_embedding() -> None:
    ids = torch.randint(9, (12, 3))
    one_hot = CharacterModel(small("hyper-lstm", embedding_size=0), 9)
    embedded = CharacterModel(small("hyper-lstm", embedding_size=9), 9)
    assert isinstance(embedded.embedding, nn.Embedding)
    embedded.load_state_dict({**one_hot.state_dict(), "embedding.weight": torch.eye(9)})
    assert torch.equal(one_hot(ids)[0], embedded(ids)[0])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_every_network_reads_forwards_and_learns_backwards(network: str, layers: int) -> None:
    """Logits know what came before alone, whatever the cuts; and the gradient of every parameter is there."""
    model = CharacterModel(small(network, num_layers=layers), 11).double()
    ids = torch.randint(11, (10, 4))
    logits, _ = model(ids)
    assert logits.shape == (10, 4, 11)
    changed = ids.clone()
    changed[6, 2] = (ids[6, 2] + 1) % 11
    differs = (model(changed)[0] != logits).any(dim=-1)
    assert not differs[:6].any()
    assert not differs[:, [0, 1, 3]].any()
    assert differs[6:, 2].all()

    first, state = model(ids[:4])
    second, _ = model(ids[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), logits, rtol=1e-12, atol=1e-12)

    F.cross_entropy(logits.flatten(0, 1), ids.roll(-1, 0).flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.head.bias.grad is not None
    expected = (logits.softmax(-1) - F.one_hot(ids.roll(-1, 0), 11)).mean(dim=(0, 1))
    torch.testing.assert_close(model.head.bias.grad, expected)


def test_dropout_acts_on_what_network_and_head_read_while_training_alone() -> None:
    model = CharacterModel(CharacterModelConfig("lstm", 40, embedding_size=40, input_dropout=0.25, dropout=0.4), 9)
    read: dict[nn.Module, torch.Tensor] = {}
    for module in (model.network, model.head):
        module.register_forward_hook(lambda module, given, _: read.update({module: given[0]}))
    ids = torch.randint(9, (50, 8))
    model(ids)
    embedded = model.embedding(ids)
    kept = read[model.network] != 0
    assert abs(kept.float().mean() - 0.75) < 0.02
    torch.testing.assert_close(read[model.network], torch.where(kept, embedded / 0.75, 0))
    assert abs((read[model.head] != 0).float().mean() - 0.6) < 0.02
    model.eval()(ids)
    assert torch.equal(read[model.network], embedded)
    assert read[model.head].count_nonzero() == read[model.head].numel()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "transformer"}, "network should be one of lstm, .* got 'transformer'"),
        ({"hidden_size": 0}, "hidden_size should be at least 1, got 0"),
        ({"num_layers": -1}, "num_layers should be at least 1, got -1"),
        ({"depth": 0}, "depth should be at least 1, got 0"),
        ({"embedding_size": -1}, r"embedding_size should be at least 0 \(0: one-hot\), got -1"),
        ({"dropout": 1.0}, r"dropout should be in \[0, 1\), got 1.0"),
        ({"weight_dropout": -0.1}, r"weight_dropout should be in \[0, 1\), got -0.1"),
        ({"dropout_per": "stream"}, "dropout_per should be step or sequence, got 'stream'"),
        ({"tie_weights": True, "skips": True}, "tie_weights requires a head that reads h alone, got skips"),
        ({"recurrent_dropout": float("nan")}, r"recurrent_dropout should be in \[0, 1\), got nan"),
    ],
)
def test_impossible_settings_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **changes)
