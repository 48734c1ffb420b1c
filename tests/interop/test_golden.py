"""Other implementations' weights, loaded; then outputs, final state and gradients held to what theirs printed.

Every converter rearranges and copies, so the gradients they printed are converted like weights and compared with ours;
where a converter adds a constant (supercell's forget bias), the gradients are converted with that constant taken off.
"""

import numpy as np
import pytest
import torch

import hypernetworks as hn

from .goldens import LABML, load, under


def close(ours, theirs, tol):
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    error = (ours - theirs).abs().max().item()
    assert error <= tol * max(1.0, theirs.abs().max().item()), error


def check_parameters(network, printed, tol):
    """`printed` is a network made of their gradients; it has the same names as ours."""
    gradients = dict(printed.named_parameters())
    assert len(gradients) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        assert gradients[name].detach().abs().sum() > 0, name
        close(parameter.grad, gradients[name].detach(), tol)


@pytest.mark.parametrize("name", LABML)
def test_labml(name):
    data, tol = load(name), 1e-10
    network = LABML[name](under(data, "param/"))
    assert all(p.dtype == torch.float64 for p in network.parameters())
    x = torch.tensor(data["x"], requires_grad=True)
    parts = len(under(data, "state0/"))
    initial = [torch.tensor(data[f"state0/{k}"], requires_grad=True) for k in range(parts)]
    # labml_nn's LSTMCell has a state without layers; a network has one
    given = [s if s.dim() == 3 else s.unsqueeze(0) for s in initial]
    out, final = network(x, given[0] if parts == 1 else tuple(given))
    (out * torch.tensor(data["cotangent"])).sum().backward()
    close(out, data["out"], tol)
    for k, part in enumerate([final] if parts == 1 else final):
        close(part.reshape(data[f"state/{k}"].shape), data[f"state/{k}"], tol)
        close(initial[k].grad, data[f"grad_state0/{k}"], tol)
    close(x.grad, data["grad_x"], tol)
    check_parameters(network, LABML[name](under(data, "grad/")), tol)


@pytest.mark.parametrize("norm", ["layernorm", "plain"])
@pytest.mark.parametrize("kind", ["hyperlstm", "lstm"])
def test_supercell(kind, norm, monkeypatch):
    data, tol = load(f"supercell_{kind}_{norm}"), 1e-5
    convert = hn.interop.hyper_lstm_from_supercell if kind == "hyperlstm" else hn.interop.lstm_from_supercell
    network = convert(under(data, "param/"))
    H = network.hidden_size
    x = torch.tensor(data["x"], requires_grad=True)
    c0, h0 = (torch.tensor(data[key], requires_grad=True) for key in ("c0", "h0"))
    # main and hyper state stand side by side in theirs
    state = [part for both in zip(h0.tensor_split([H], 1), c0.tensor_split([H], 1), strict=True) for part in both]
    state = state[: 4 if kind == "hyperlstm" else 2]
    out, final = network(x, tuple(part.unsqueeze(0) for part in state))
    (out * torch.tensor(data["cotangent"])).sum().backward()
    close(out, data["out"], tol)
    close(torch.cat(final[0::2], dim=-1)[0], data["h"], tol)
    close(torch.cat(final[1::2], dim=-1)[0], data["c"], tol)
    close(h0.grad, data["grad_h0"], tol)
    close(c0.grad, data["grad_c0"], tol)
    close(x.grad, data["grad_x"], tol)
    monkeypatch.setattr("hypernetworks.interop.supercell.FORGET_BIAS", 0.0)
    check_parameters(network, convert(under(data, "grad/")), tol)


def test_names_of_a_tensorflow_graph_are_accepted():
    data = under(load("supercell_lstm_plain"), "param/")
    renamed = {f"rnn/{name}:0": array for name, array in data.items()}
    plain, graph = hn.interop.lstm_from_supercell(data), hn.interop.lstm_from_supercell(renamed)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), graph.parameters(), strict=True))


def test_errors_name_what_is_wrong():
    data = under(load("labml_hyperlstm_1layer"), "param/")
    missing = {k: v for k, v in data.items() if k != "cells.0.w_h.2"}
    with pytest.raises(ValueError, match=r"should hold 'cells\.0\.w_h\.2'"):
        hn.interop.hyper_lstm_from_labml(missing)
    with pytest.raises(ValueError, match=r"do not belong to this network: surplus"):
        hn.interop.hyper_lstm_from_labml(data | {"surplus": np.zeros(3)})
    with pytest.raises(ValueError, match=r"z bias: got shape .*, expected shape \(8, 2\)"):
        hn.interop.hyper_lstm_from_labml(data | {"cells.0.z_h.bias": np.zeros(16)})
    with pytest.raises(ValueError, match=r"one floating dtype, got torch\.float32, torch\.float64"):
        hn.interop.hyper_lstm_from_labml(data | {"cells.0.w_h.2": data["cells.0.w_h.2"].astype(np.float32)})
    with pytest.raises(TypeError, match=r"state_dict should be a mapping"):
        hn.interop.lstm_from_labml([1, 2])
    with pytest.raises(ValueError, match=r"should hold a '…/W_xh'"):
        hn.interop.lstm_from_supercell(data)
