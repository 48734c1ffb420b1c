"""Every family with kernels equals its reference: outputs, final state, and the gradient of every input and parameter."""

import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

import hypernetworks as hn

from .parity import NATIVE, TOLERANCE, both, both_dtypes, given, native_families, network_of, state_of, worst


def sized(family, hyper=33, embedding=7):
    """The options of a family at these sizes of the hyper cell, where it has one."""
    return {"hyper_size": hyper, "hyper_embedding_size": embedding} if "hyper_size" in family.options else {}


def compare(network, x, state, dtype, **options):
    leaves = [x, *state, *network.parameters()]
    for leaf in (x, *state):
        leaf.requires_grad_()
    ours, theirs = both(network, lambda: network(x, given(network, state)), leaves, **options)
    assert worst(ours, theirs) <= TOLERANCE[dtype]


@native_families
@both_dtypes
@pytest.mark.parametrize("time", [2, 3, 7])
@pytest.mark.parametrize(("batch", "size"), [(1, 1), (1, 33), (7, 7), (33, 65), (65, 33)])
def test_odd_sizes(family, dtype, time, batch, size, spy):
    network = network_of(family, size, size, dtype, **sized(family, size, min(size, 33)))
    compare(network, torch.randn(time, batch, size, dtype=dtype), state_of(network, batch, dtype), dtype)
    assert spy.layers == 1


@native_families
@both_dtypes
def test_one_step_under_gradients(family, dtype, spy):
    network = network_of(family, 5, 9, dtype)
    compare(network, torch.randn(1, 3, 5, dtype=dtype), state_of(network, 3, dtype), dtype)
    assert spy.layers == 1


@native_families
@both_dtypes
@pytest.mark.parametrize(("time", "batch"), [(3, 151), (200, 3), (2, 600), (1030, 1)])
def test_more_rows_than_a_piece(family, dtype, time, batch):
    network = network_of(family, 3, 17, dtype, **sized(family, 5, 3))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight_h"):
                parameter.mul_(0.3)  # a state that remembers would amplify the rounding of both paths over a long time
    compare(network, torch.randn(time, batch, 3, dtype=dtype), state_of(network, batch, dtype), dtype)


@native_families
@both_dtypes
@pytest.mark.parametrize(
    "lengths", [[5, 3, 3, 1], [1, 7, 2], [4, 4], [120, 80, 60, 60, 50, 40, 40, 30, 20, 9, 1], [9, 4, 1] * 8]
)
def test_packed_both_ways_in_two_layers_with_dropout(family, dtype, lengths):
    # a norm over few values, and a long time, would amplify the rounding of both paths
    options = {"num_layers": 2, "bidirectional": True, "recurrent_dropout": 0.4, "dropout": 0.2} | sized(family)
    network = network_of(family, 3, 33, dtype, **options)
    lengths = [min(length, 200 if dtype == torch.float64 else 12) for length in lengths]
    x = torch.randn(max(lengths), len(lengths), 3, dtype=dtype, requires_grad=True)
    state = [tensor.requires_grad_() for tensor in state_of(network, len(lengths), dtype)]

    def run():
        return network(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False), given(network, state))

    ours, theirs = both(network, run, [x, *state, *network.parameters()])
    assert worst(ours, theirs) <= TOLERANCE[dtype]


@native_families
def test_unbatched_and_batch_first(family):
    network = network_of(family, 3, 9, batch_first=True)
    compare(network, torch.randn(4, 6, 3, dtype=torch.float64), state_of(network, 4), torch.float64)
    state = state_of(network, 0, batched=False)
    compare(network, torch.randn(6, 3, dtype=torch.float64), state, torch.float64)


def test_lstm_without_bias():
    for norm in (False, True):
        network = hn.LSTM(3, 9, bias=False, layer_norm=norm, dtype=torch.float64)
        compare(network, torch.randn(4, 2, 3, dtype=torch.float64), state_of(network, 2), torch.float64)


@native_families
def test_what_does_not_lie_in_one_piece(family):
    network = network_of(family, 6, 9)
    for cell in network.modules():
        for name, parameter in list(cell._parameters.items()):
            if parameter is not None and parameter.dim() == 2:
                with torch.no_grad():
                    spread = torch.stack((parameter, parameter), dim=-1)[..., 0]
                assert not spread.is_contiguous()
                setattr(cell, name, torch.nn.Parameter(spread))
    x = torch.randn(6, 2, 5, dtype=torch.float64).transpose(0, 2)
    state = [torch.randn(1, 1, size, dtype=torch.float64).expand(1, 2, size) for size in network.cell(0).state_sizes]
    compare(network, x, state, torch.float64)
    compare(network, torch.randn(1, 1, 6, dtype=torch.float64).expand(5, 2, 6), state, torch.float64)


@native_families
@pytest.mark.parametrize("frozen", ["all", "some", "input and state"])
def test_what_needs_no_gradient(family, frozen):
    network = network_of(family, 3, 9)
    x, state = torch.randn(4, 2, 3, dtype=torch.float64), state_of(network, 2)
    parameters = list(network.parameters())
    if frozen == "input and state":
        wrt = parameters
    else:
        x.requires_grad_()
        for parameter in parameters[:: 1 if frozen == "all" else 2]:
            parameter.requires_grad_(False)
        wrt = [x, *parameters]
    ours, theirs = both(network, lambda: network(x, given(network, state)), wrt)
    assert worst(ours, theirs) <= 1e-10


@native_families
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_the_gradient_of_one_output_alone(family, kept):
    network = network_of(family, 3, 9)
    state = state_of(network, 2)
    last = len(state)
    compare(
        network,
        torch.randn(4, 2, 3, dtype=torch.float64),
        state,
        torch.float64,
        keep=lambda k: k == kept % (last + 1),
    )


@native_families
@both_dtypes
@pytest.mark.parametrize(("time", "batch"), [(2, 3), (70, 7), (3, 301)])
@torch.no_grad()
def test_without_gradients_nothing_is_kept_and_all_is_the_same(family, dtype, time, batch, spy):
    network = network_of(family, 5, 33, dtype, **sized(family))
    x, state = torch.randn(time, batch, 5, dtype=dtype), state_of(network, batch, dtype)
    ours, theirs = both(network, lambda: network(x, given(network, state)), [])
    assert worst(ours, theirs) <= TOLERANCE[dtype]
    assert spy.layers == 1


SIZES = st.integers(1, 40)


@examples(
    name=st.sampled_from(sorted(NATIVE)),
    sizes=st.tuples(SIZES, SIZES, SIZES, st.integers(1, 20)),
    time=st.integers(1, 12),
    batch=st.integers(1, 20),
    reverse=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_any_sizes(name, sizes, time, batch, reverse, dtype, seed):
    torch.manual_seed(seed)
    family = NATIVE[name]
    I, H, K, Z = sizes
    if dtype == torch.float32:
        # a norm over a few values amplifies the rounding of both paths alike
        H, K = H + 7, K + 7
    network = network_of(family, I, H, dtype, bidirectional=reverse, **sized(family, K, Z))
    compare(network, torch.randn(time, batch, I, dtype=dtype), state_of(network, batch, dtype), dtype)


@native_families
def test_gradcheck(family):
    network = network_of(family, 2, 3)
    x, state = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True), state_of(network, 2)
    leaves = [tensor.requires_grad_() for tensor in state]
    names = [name for name, _ in network.named_parameters()]

    def run(x, *others):
        state, parameters = others[: len(leaves)], dict(zip(names, others[len(leaves) :], strict=True))
        output, final = torch.func.functional_call(network, parameters, (x, given(network, state)))
        return output, *(final if isinstance(final, tuple) else (final,))

    with hn.use_backend("native"):
        assert torch.autograd.gradcheck(run, (x, *leaves, *network.parameters()), fast_mode=True)
