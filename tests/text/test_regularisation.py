"""Dropout masks, masked weights and skips: each against the law that defines it."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import hypernetworks as hn
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.text.evaluate import evaluate
from hypernetworks.text.model import CharacterModel, CharacterModelConfig
from hypernetworks.text.regularisation import dropped, masked_weights

SMALL = CharacterModelConfig(hidden_size=6, embedding_size=5, hyper_size=4, hyper_embedding_size=3, depth=2)


def test_masks_are_drawn_for_each_step_or_once_for_a_sequence() -> None:
    values = torch.rand(60, 20, 30) + 1
    for per in ("step", "sequence"):
        made = dropped(values, 0.3, per)
        kept = made != 0
        torch.testing.assert_close(made, torch.where(kept, values / 0.7, 0))
        assert abs(kept.float().mean() - 0.7) < 0.06
        assert (kept == kept[:1]).all() == (per == "sequence")
    first, second = (dropped(values, 0.3, "sequence") != 0 for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(dropped(values, 0.0, "sequence"), values)


@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_a_masked_state_is_a_state_with_units_dropped(network: str) -> None:
    """The columns of all matrices on h have one mask, and no other column is touched."""
    model = CharacterModel(replace(SMALL, network=network, num_layers=2), 9)
    masked = masked_weights(model.network, 0.5, 0.0)
    own = dict(model.network.named_parameters())
    hyper = FAMILIES[network].is_hyper
    assert len(masked) == (4 if hyper else 2)
    masks: dict[str, torch.Tensor] = {}
    for name, weight in masked.items():
        ratio = weight / own[name]
        column = ratio.flatten(0, -2)[0]
        assert torch.equal(ratio, column.expand_as(ratio))
        of_x, of_h = column[: -SMALL.hidden_size], column[-SMALL.hidden_size :]
        assert (of_x == 1).all()
        assert set(of_h.tolist()) <= {0.0, 2.0}
        same = masks.setdefault(name.split(".")[1], of_h)
        assert torch.equal(same, of_h)


@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_dropped_weights_are_those_of_the_recurrence(network: str) -> None:
    model = CharacterModel(replace(SMALL, network=network, hidden_size=40, hyper_size=30), 9)
    masked = masked_weights(model.network, 0.0, 0.25)
    own = dict(model.network.named_parameters())
    assert all(name.endswith("weight_h") for name in masked)
    assert len(masked) == (2 if FAMILIES[network].is_hyper else 1)
    for name, weight in masked.items():
        kept = weight != 0
        assert abs(kept.float().mean() - 0.75) < 0.05
        torch.testing.assert_close(weight, torch.where(kept, own[name] / 0.75, 0))


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("network", ["lstm", "gru", "rhn", "hyper-lstm"])
def test_a_model_with_masks_is_the_model_whose_weights_are_masked(
    network: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs, and gradients by the chain rule: that of the masked weight times the mask."""
    config = replace(SMALL, network=network, state_dropout=0.3, weight_dropout=0.3)
    model = CharacterModel(config, 9)
    other = CharacterModel(config, 9).eval()
    ids = torch.randint(9, (7, 3))
    drawn: dict[str, torch.Tensor] = {}

    def noting(*given: object) -> dict[str, torch.Tensor]:
        drawn.update(masked_weights(*given))  # type: ignore[arg-type]
        return dict(drawn)

    monkeypatch.setattr("hypernetworks.text.model.masked_weights", noting)
    with hn.use_backend(backend):
        logits, _ = model(ids)
        logits.square().sum().backward()
        other.load_state_dict({**model.state_dict(), **{f"network.{name}": weight for name, weight in drawn.items()}})
        expected, _ = other(ids)
        expected.square().sum().backward()
    torch.testing.assert_close(logits, expected)
    theirs = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        grad = theirs[name].grad
        assert grad is not None
        if (weight := drawn.get(name.removeprefix("network."))) is not None:
            grad = grad * torch.where(parameter == 0, 0, weight / parameter)
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-4, atol=1e-5)
    assert all(isinstance(parameter, nn.Parameter) for parameter in model.parameters())


def test_no_mask_acts_in_evaluation() -> None:
    config = replace(SMALL, network="lstm", input_dropout=0.5, dropout=0.5, state_dropout=0.5, weight_dropout=0.5)
    model, ids = CharacterModel(config, 9).eval(), torch.randint(9, (7, 3))
    assert torch.equal(model(ids)[0], model(ids)[0])


@pytest.mark.parametrize("network", ["lstm", "gru", "hyper-lstm"])
def test_the_head_with_skips_reads_the_embedding_and_every_layer(network: str) -> None:
    config = replace(SMALL, network=network, num_layers=2, skips=True)
    model, ids = CharacterModel(config, 9).eval(), torch.randint(9, (7, 3))
    read, state = model.read(ids)
    assert read.shape == (7, 3, 5 + 2 * 6)
    x = model.embedding(ids)
    first = FAMILIES[network].make(5, 6, **{name: getattr(config, name) for name in FAMILIES[network].takes})
    first.cells[0].load_state_dict(model.network.cells[0].state_dict())
    h1, _ = first(x)
    h2, final = model.network(x)
    torch.testing.assert_close(read, torch.cat([x, h1, h2], dim=-1))
    torch.testing.assert_close(state, final)


def test_variational_dropout_between_layers_has_one_mask() -> None:
    config = replace(SMALL, network="lstm", hidden_size=50, num_layers=2, dropout=0.4, dropout_per="sequence")
    model, ids = CharacterModel(config, 9), torch.randint(9, (30, 4))
    read: list[torch.Tensor] = []
    model.network.cells[1].register_forward_hook(lambda cell, given, made: read.append(given[0].view(30, 4, 50)))
    model(ids)
    kept = read[0] != 0
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert 0.4 < kept.float().mean() < 0.8


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_model_with_skips_reads_step_by_step_what_it_reads_at_once(weights: str) -> None:
    model = CharacterModel(replace(SMALL, network="hyper-lstm", num_layers=2, skips=True), 9).eval()
    ids = torch.randint(9, (40,))
    whole = evaluate(model, ids).nats
    assert evaluate(model, ids, weights).nats == pytest.approx(whole, abs=0.02)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", ["lstm", "gru", "rhn", "hyper-lstm"])
def test_zoneout_keeps_values_of_the_state_while_training(network: str) -> None:
    """Each value after a step is the one before or the one that the plain network computes."""
    plain = CharacterModel(replace(SMALL, network=network, hidden_size=60), 9).eval()
    zoned = CharacterModel(replace(SMALL, network=network, hidden_size=60, zoneout=0.3), 9)
    zoned.load_state_dict(plain.state_dict())
    ids = torch.randint(9, (1, 40))
    _, before = plain(torch.randint(9, (5, 40)))
    after, new = zoned(ids, before)[1], plain(ids, before)[1]
    tensors = plain.network.cell(0).state_tensors
    for old, computed, found in zip(tensors(before), tensors(new), tensors(after), strict=True):
        kept = found == old
        torch.testing.assert_close(found, torch.where(kept, old, computed))
        assert abs(kept.float().mean() - 0.3) < 0.12


@pytest.mark.parametrize("backend", ["native", "reference", "compiled"])
@pytest.mark.parametrize("network", ["lstm", "hyper-lstm"])
def test_zoneout_has_its_mean_outside_training(network: str, backend: str) -> None:
    """Step by step by hand, on every path, and in a stepper."""
    zoned = CharacterModel(replace(SMALL, network=network, zoneout=0.3), 9).eval()
    plain = CharacterModel(replace(SMALL, network=network), 9).eval()
    plain.load_state_dict(zoned.state_dict())
    x = torch.randn(5, 2, 5)
    cell = plain.network.cell(0)
    state = cell.zero_state(x, 1, 2)
    with torch.no_grad():
        for t in range(5):
            _, new = plain.network(x[t : t + 1], cell.named_state(state))
            state = [0.3 * a + 0.7 * b for a, b in zip(state, cell.state_tensors(new), strict=True)]
        with hn.use_backend(backend):
            output, final = zoned.network(x)
            step = zoned.network.stepper(2)
            for t in range(5):
                h = step(x[t])
    torch.testing.assert_close(cell.state_tensors(final), state)
    torch.testing.assert_close(output[-1], state[0][0])
    torch.testing.assert_close(h, state[0][0])


def test_gradients_flow_through_zoneout_and_the_model_can_be_copied() -> None:
    model = CharacterModel(replace(SMALL, network="hyper-lstm", zoneout=0.2), 9)
    copied = copy.deepcopy(model)
    assert copied.network.cell(0).advance.args[0] is copied.network.cell(0)  # type: ignore[attr-defined]
    model(torch.randint(9, (7, 3)))[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.network.parameters())
