"""Weights in from torch.nn.LSTM, GRU and RNN, and out to them.

torch has two biases, which act as their sum; the networks here have one. The exception is the candidate n of a GRU, see
`recurrent.torch_names`. The order of the gates is the same.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from hypernetworks.recurrent import GRU, LSTM, RNN
from hypernetworks.recurrent.torch_names import suffixes

Theirs = TypeVar("Theirs", bound=nn.RNNBase)


def lstm_from_torch(lstm: nn.LSTM) -> LSTM:
    """Make an hn.LSTM that computes what the given torch.nn.LSTM computes.

    Settings, device, dtype and training mode are copied.

    Example:
        >>> theirs = torch.nn.LSTM(10, 20, num_layers=2)
        >>> ours = hn.interop.lstm_from_torch(theirs)
        >>> x = torch.randn(5, 3, 10)
        >>> torch.testing.assert_close(ours(x)[0], theirs(x)[0])

    Raises:
        TypeError: for anything but a torch.nn.LSTM.
        ValueError: for one with projections (proj_size).
    """
    _check_type("lstm", lstm, nn.LSTM)
    return _take(lstm, LSTM(*_settings(lstm), lstm.proj_size, **_made(lstm)))


def gru_from_torch(gru: nn.GRU) -> GRU:
    """Make an hn.GRU that computes what the given torch.nn.GRU computes.

    Settings, device, dtype and training mode are copied.

    Example:
        >>> theirs = torch.nn.GRU(10, 20, num_layers=2)
        >>> ours = hn.interop.gru_from_torch(theirs)
        >>> x = torch.randn(5, 3, 10)
        >>> torch.testing.assert_close(ours(x)[0], theirs(x)[0])

    Raises:
        TypeError: for anything but a torch.nn.GRU.
    """
    _check_type("gru", gru, nn.GRU)
    return _take(gru, GRU(*_settings(gru), **_made(gru)))


def rnn_from_torch(rnn: nn.RNN) -> RNN:
    """Make an hn.RNN that computes what the given torch.nn.RNN computes.

    Settings, device, dtype and training mode are copied.

    Example:
        >>> theirs = torch.nn.RNN(10, 20, num_layers=2)
        >>> ours = hn.interop.rnn_from_torch(theirs)
        >>> x = torch.randn(5, 3, 10)
        >>> torch.testing.assert_close(ours(x)[0], theirs(x)[0])

    Raises:
        TypeError: for anything but a torch.nn.RNN.
        ValueError: for one with another nonlinearity than tanh.
    """
    _check_type("rnn", rnn, nn.RNN)
    sizes, others = _settings(rnn)[:3], _settings(rnn)[3:]
    return _take(rnn, RNN(*sizes, rnn.nonlinearity, *others, **_made(rnn)))


def lstm_to_torch(lstm: LSTM) -> nn.LSTM:
    """Make a torch.nn.LSTM that computes what the given hn.LSTM computes; b becomes bias_ih, and bias_hh is 0.

    Settings, device, dtype and training mode are copied.

    Raises:
        TypeError: for anything but an hn.LSTM.
        ValueError: for one that torch.nn.LSTM cannot express: layer-normalised, or with recurrent dropout.
    """
    return _give("lstm", lstm, LSTM, nn.LSTM)


def gru_to_torch(gru: GRU) -> nn.GRU:
    """Make a torch.nn.GRU that computes what the given hn.GRU computes; b becomes bias_ih, and b_h the n of bias_hh.

    Settings, device, dtype and training mode are copied.

    Raises:
        TypeError: for anything but an hn.GRU.
        ValueError: for one that torch.nn.GRU cannot express: layer-normalised, or with recurrent dropout.
    """
    return _give("gru", gru, GRU, nn.GRU)


def rnn_to_torch(rnn: RNN) -> nn.RNN:
    """Make a torch.nn.RNN that computes what the given hn.RNN computes; b becomes bias_ih, and bias_hh is 0.

    Settings, device, dtype and training mode are copied.

    Raises:
        TypeError: for anything but an hn.RNN.
        ValueError: for one that torch.nn.RNN cannot express: layer-normalised, or with recurrent dropout.
    """
    return _give("rnn", rnn, RNN, nn.RNN)


Ours = TypeVar("Ours", LSTM, GRU, RNN)


def _take(theirs: nn.RNNBase, ours: Ours) -> Ours:
    """Copy the weights of a network of torch into ours."""
    ours.load_state_dict(theirs.state_dict())
    return ours.train(theirs.training)


@torch.no_grad()
def _give(name: str, ours: LSTM | GRU | RNN, kind: type, torchs: Callable[..., Theirs]) -> Theirs:
    """Make a network of torch with the weights of ours."""
    if not isinstance(ours, kind):
        raise TypeError(f"{name} should be a hypernetworks.{kind.__name__}, got {type(ours).__name__}")
    full_name = f"torch.nn.{kind.__name__}"
    for k in range(len(ours.cells)):
        if ours.cell(k).norm is not None:
            raise ValueError(f"{name} has layer_norm=True, and {full_name} has no layer norm")
        if ours.cell(k).recurrent_dropout:
            raise ValueError(f"{name} has recurrent_dropout={ours.cell(k).recurrent_dropout}, and {full_name} has none")
    settings: dict[str, Any] = {
        name: getattr(ours, name) for name in ("bias", "batch_first", "dropout", "bidirectional")
    }
    weight = ours.cell(0).weight_x
    theirs = torchs(
        ours.input_size, ours.hidden_size, ours.num_layers, **settings, device=weight.device, dtype=weight.dtype
    )
    for k, suffix in enumerate(suffixes(theirs.num_layers, theirs.bidirectional)):
        cell = ours.cell(k)
        theirs.get_parameter("weight_ih" + suffix).copy_(cell.weight_x)
        theirs.get_parameter("weight_hh" + suffix).copy_(cell.weight_h)
        if theirs.bias:
            bias_h = theirs.get_parameter("bias_hh" + suffix).zero_()
            theirs.get_parameter("bias_ih" + suffix).copy_(cell.bias)
            if isinstance(ours, GRU):
                bias_h[2 * ours.hidden_size :].copy_(ours.cell(k).get_parameter("bias_h"))
    return theirs.train(ours.training)


def _check_type(name: str, network: object, kind: type) -> None:
    if not isinstance(network, kind):
        raise TypeError(f"{name} should be a torch.nn.{kind.__name__}, got {type(network).__name__}")


def _settings(theirs: nn.RNNBase) -> tuple[int, int, int, bool, bool, float, bool]:
    """The arguments that all three networks take, in torch's order."""
    return (
        theirs.input_size,
        theirs.hidden_size,
        theirs.num_layers,
        theirs.bias,
        theirs.batch_first,
        theirs.dropout,
        theirs.bidirectional,
    )


def _made(theirs: nn.RNNBase) -> dict[str, Any]:
    weight = theirs.get_parameter("weight_ih_l0")
    return {"device": weight.device, "dtype": weight.dtype}
