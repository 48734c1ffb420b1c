"""Errors name the argument, the value and what was expected."""

import re

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

import hypernetworks as hn

from .families import FAMILIES, H, I, K, Z, all_families, hyper_families, tensors

T, B = 4, 3


def expect(error, *parts):
    """The message holds these parts in this order."""
    return pytest.raises(error, match=".*".join(re.escape(part) for part in parts))


@all_families
@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
def test_sizes_are_whole_numbers_of_at_least_one(family, name):
    sizes = {"input_size": I, "hidden_size": H, "num_layers": 1}
    for wrong in (0, -2):
        with expect(ValueError, f"{name} should be at least 1, got {wrong}"):
            family.network_type(**sizes | {name: wrong}, **family.options)
    for wrong in (2.0, "3", None, True):
        with expect(TypeError, f"{name} should be a whole number, got {wrong!r}"):
            family.network_type(**sizes | {name: wrong}, **family.options)
        if name != "num_layers":
            with expect(TypeError, f"{name} should be a whole number, got {wrong!r}"):
                family.cell_type(**{"input_size": I, "hidden_size": H} | {name: wrong}, **family.options)


@hyper_families
@pytest.mark.parametrize("name", ["hyper_size", "hyper_embedding_size"])
def test_sizes_of_the_hyper_cell_are_too(family, name):
    for make in (family.network_type, family.cell_type):
        with expect(ValueError, f"{name} should be at least 1, got 0"):
            make(I, H, **family.options | {name: 0})
        with expect(TypeError, f"{name} should be a whole number, got 1.5"):
            make(I, H, **family.options | {name: 1.5})


@pytest.mark.parametrize("make", [hn.RHN, hn.RHNCell, hn.HyperRHN, hn.HyperRHNCell])
def test_so_is_the_depth(make):
    with expect(ValueError, "depth should be at least 1, got 0"):
        make(I, H, depth=0)
    with expect(TypeError, "depth should be a whole number, got 2.5"):
        make(I, H, depth=2.5)


@all_families
@pytest.mark.parametrize(("name", "interval"), [("dropout", "[0, 1]"), ("recurrent_dropout", "[0, 1)")])
def test_dropout_is_a_probability(family, name, interval):
    for wrong in (-0.1, 1.5, float("nan"), *([1.0, 1] if name == "recurrent_dropout" else [])):
        with expect(ValueError, f"{name} should lie in {interval}, got {wrong}"):
            family.network_type(I, H, 2, **family.options | {name: wrong})
    for wrong in ("0.5", None, True):
        with expect(TypeError, f"{name} should be a number in {interval}, got {wrong!r}"):
            family.network_type(I, H, 2, **family.options | {name: wrong})


@pytest.mark.parametrize("name", [name for name in FAMILIES if "layer_norm_eps" in FAMILIES[name].options])
def test_epsilon_is_a_positive_number(name):
    family = FAMILIES[name]
    for wrong in (0, -1e-5, float("nan")):
        with expect(ValueError, f"layer_norm_eps should be greater than 0, got {wrong}"):
            family.network_type(I, H, **family.options | {"layer_norm": True, "layer_norm_eps": wrong})
    with expect(TypeError, "layer_norm_eps should be a number, got '1e-5'"):
        family.network_type(I, H, **family.options | {"layer_norm": True, "layer_norm_eps": "1e-5"})


@all_families
def test_a_dtype_is_a_floating_one(family):
    for make in (family.network_type, family.cell_type):
        for wrong in (torch.int64, torch.bool, torch.complex64):
            with expect(TypeError, f"dtype should be a floating point dtype, got {wrong}"):
                make(I, H, dtype=wrong, **family.options)


def test_projections_are_refused():
    with expect(ValueError, "proj_size should be 0", "got 3"):
        hn.LSTM(I, H, proj_size=3)


@hyper_families
def test_unknown_schemes_are_refused_with_the_known_ones(family):
    for make in (family.network_type, family.cell_type):
        with expect(ValueError, "init should be one of 'default', 'paper', got 'xavier'"):
            make(I, H, **family.options | {"init": "xavier"})


@pytest.mark.parametrize("make", [hn.HyperRNN, hn.HyperRNNCell])
def test_unknown_generations_are_refused_with_the_known_ones(make):
    with expect(ValueError, "generation should be one of 'scale', 'full', got 'rows'"):
        make(I, H, generation="rows")


@all_families
@pytest.mark.parametrize(
    ("shape", "batch_first", "expected"),
    [
        ((I,), False, "(time, batch, input_size) or (time, input_size)"),
        ((T, B, I, 1), False, "(time, batch, input_size) or (time, input_size)"),
        ((T, B, I, 1), True, "(batch, time, input_size) or (time, input_size)"),
        ((T, B, I + 1), False, f"(time, batch, input_size) or (time, input_size) with input_size {I}"),
        ((T, I - 1), True, f"(batch, time, input_size) or (time, input_size) with input_size {I}"),
    ],
)
def test_an_input_of_the_wrong_shape(family, shape, batch_first, expected):
    with expect(ValueError, f"input should have shape {expected}, got {shape}"):
        family.network(batch_first=batch_first)(torch.zeros(shape, dtype=torch.float64))


@all_families
@pytest.mark.parametrize(
    ("shape", "batch_first"), [((0, B, I), False), ((B, 0, I), True), ((0, I), False), ((0, I), True)]
)
def test_an_input_without_a_time_step(family, shape, batch_first):
    with expect(ValueError, f"input should have at least one time step, got shape {shape}"):
        family.network(batch_first=batch_first)(torch.zeros(shape, dtype=torch.float64))


@all_families
def test_an_input_of_the_wrong_kind(family):
    network, cell = family.network(), family.cell()
    for module, shape in ((network, (T, B, I)), (cell, (B, I))):
        with expect(ValueError, "input has dtype torch.float32, but the network's weights have torch.float64"):
            module(torch.zeros(shape))
        with expect(ValueError, "input has dtype torch.int64, but the network's weights have torch.float64"):
            module(torch.zeros(shape, dtype=torch.int64))
        with expect(ValueError, "input is on device meta, but the network's weights are on cpu"):
            module(torch.zeros(shape, dtype=torch.float64, device="meta"))
        for wrong, name in (([[1.0]], "list"), (None, "NoneType")):
            with expect(TypeError, f"input should be a tensor, got {name}"):
                module(wrong)


@all_families
def test_a_packed_input_is_checked_like_any_other(family):
    network, sizes = family.network(), torch.tensor([2, 1])
    with expect(
        ValueError, f"input should have shape (rows, input_size) when packed with input_size {I}, got (3, {I + 1})"
    ):
        network(PackedSequence(torch.zeros(3, I + 1, dtype=torch.float64), sizes))
    with expect(ValueError, "input has dtype torch.float32, but the network's weights have torch.float64"):
        network(PackedSequence(torch.zeros(3, I), sizes))
    with expect(ValueError, f"should have shape (1, 2, {H}), got (1, 3, {H})"):
        network(PackedSequence(torch.zeros(3, I, dtype=torch.float64), sizes), family.state(1, 3))


@all_families
def test_an_input_of_a_cell_of_the_wrong_shape(family):
    for shape in ((T, B, I), (), (B, I + 1), (I + 1,)):
        with expect(ValueError, "input should have shape (batch, input_size) or (input_size,)", f"got {shape}"):
            family.cell()(torch.zeros(shape, dtype=torch.float64))


def names_of(family):
    return family.cell_type.state_names


def with_part(family, state, k, change):
    parts = [change(part) if j == k else part for j, part in enumerate(tensors(state))]
    return parts[0] if family.state_type is None else tuple(parts)


@all_families
def test_each_part_of_a_state_has_its_shape_dtype_and_device(family):
    network = family.network(num_layers=2)
    x, state = torch.zeros(T, B, I, dtype=torch.float64), family.state(2, B)
    for k, name in enumerate(names_of(family)):
        size = K if name.startswith("hyper") else H
        with expect(ValueError, f"state.{name} should have shape (2, {B}, {size}), got (1, {B}, {size})"):
            network(x, with_part(family, state, k, lambda part: part[:1]))
        with expect(ValueError, f"state.{name} should have shape (2, {B}, {size}), got (2, {B}, {size - 1})"):
            network(x, with_part(family, state, k, lambda part: part[..., 1:]))
        with expect(ValueError, f"state.{name} should have shape (2, {size}), got (2, {B}, {size})"):
            network(x[:, 0], with_part(family, family.state(2), k, lambda part: part.unsqueeze(1).expand(2, B, -1)))
        with expect(ValueError, f"state.{name} has dtype torch.float32, but the network's weights have torch.float64"):
            network(x, with_part(family, state, k, lambda part: part.float()))
        with expect(ValueError, f"state.{name} is on device meta, but the network's weights are on cpu"):
            network(x, with_part(family, state, k, lambda part: part.to("meta")))
        with expect(TypeError, f"state.{name} should be a tensor, got str"):
            network(x, with_part(family, state, k, lambda part: "zero"))


@all_families
def test_a_state_of_a_cell_has_its_shape(family):
    cell, x = family.cell(), torch.zeros(B, I, dtype=torch.float64)
    name = names_of(family)[-1]
    size = tensors(family.state())[-1].shape[0]
    last = len(names_of(family)) - 1
    with expect(ValueError, f"state.{name} should have shape ({B}, {size}), got ({size},)"):
        cell(x, with_part(family, family.state(B), last, lambda part: part[0]))
    with expect(ValueError, f"state.{name} should have shape ({size},), got ({B}, {size})"):
        cell(x[0], with_part(family, family.state(), last, lambda part: part.expand(B, -1)))


@all_families
def test_a_state_has_all_its_parts_and_is_a_tuple(family):
    network, x, state = family.network(), torch.zeros(T, B, I, dtype=torch.float64), family.state(1, B)
    if family.state_type is None:
        with expect(TypeError, f"state.{names_of(family)[0]} should be a tensor, got tuple"):
            network(x, (state, state))
        return
    names = ", ".join(names_of(family))
    for wrong in (state[:-1], (*state, state[0]), ()):
        with expect(ValueError, f"state should hold {len(state)} tensors ({names}), got {len(wrong)}"):
            network(x, wrong)
    with expect(TypeError, f"state should be a tuple ({names}), got Tensor"):
        network(x, state[0])
    with expect(TypeError, f"state should be a tuple ({names}), got dict"):
        network(x, state._asdict())


def test_printing_shows_the_sizes_and_what_is_not_the_default():
    shown = repr(hn.HyperRNN(I, H, 2, hyper_size=K, hyper_embedding_size=Z, generation="full", dropout=0.25))
    for part in (f"({I}, {H}, num_layers=2, dropout=0.25", "generation='full'", f"hyper_size={K}, embedding_size={Z}"):
        assert part in shown.replace("\n", "").replace("HyperRNN(  ", "HyperRNN("), shown
