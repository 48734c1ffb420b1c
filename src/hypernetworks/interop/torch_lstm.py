"""Between hn.LSTM and torch.nn.LSTM.

Both have the gates i, f, g, o one below the other. torch.nn.LSTM has two biases, which act as their sum; hn.LSTM has one.
"""

import torch
from torch import nn

from hypernetworks.recurrent import LSTM


def _suffixes(layers: int, bidirectional: bool) -> list[str]:
    """The endings of torch's parameter names, in the order of our cells."""
    return [f"_l{k}{way}" for k in range(layers) for way in (("", "_reverse") if bidirectional else ("",))]


@torch.no_grad()
def lstm_from_torch(lstm: nn.LSTM) -> LSTM:
    """An hn.LSTM that computes what the given torch.nn.LSTM computes; its b is the sum of torch's two biases.

    Settings, device, dtype and training mode are taken over. Errors: TypeError for anything but a torch.nn.LSTM, ValueError
    for one with projections (proj_size).
    """
    if not isinstance(lstm, nn.LSTM):
        raise TypeError(f"lstm should be a torch.nn.LSTM, got {type(lstm).__name__}")
    weight = lstm.weight_ih_l0
    ours = LSTM(
        lstm.input_size,
        lstm.hidden_size,
        lstm.num_layers,
        lstm.bias,
        lstm.batch_first,
        lstm.dropout,
        lstm.bidirectional,
        lstm.proj_size,
        weight.device,
        weight.dtype,
    )
    for k, suffix in enumerate(_suffixes(lstm.num_layers, lstm.bidirectional)):
        cell = ours.cell(k)
        cell.weight_x.copy_(lstm.get_parameter("weight_ih" + suffix))
        cell.weight_h.copy_(lstm.get_parameter("weight_hh" + suffix))
        if cell.bias is not None:
            cell.bias.copy_(lstm.get_parameter("bias_ih" + suffix) + lstm.get_parameter("bias_hh" + suffix))
    return ours.train(lstm.training)


@torch.no_grad()
def lstm_to_torch(lstm: LSTM) -> nn.LSTM:
    """A torch.nn.LSTM that computes what the given hn.LSTM computes; b becomes bias_ih, and bias_hh is zero.

    Settings, device, dtype and training mode are taken over. Errors: TypeError for anything but an hn.LSTM, ValueError for
    one that torch.nn.LSTM cannot be: layer-normalised, or with recurrent dropout.
    """
    if not isinstance(lstm, LSTM):
        raise TypeError(f"lstm should be a hypernetworks.LSTM, got {type(lstm).__name__}")
    first = lstm.cell(0)
    if first.norm is not None:
        raise ValueError("lstm has layer_norm=True, and torch.nn.LSTM has no layer norm")
    if first.recurrent_dropout:
        raise ValueError(f"lstm has recurrent_dropout={first.recurrent_dropout}, and torch.nn.LSTM has none")
    bias = first.bias is not None
    theirs = nn.LSTM(
        lstm.input_size,
        lstm.hidden_size,
        lstm.num_layers,
        bias,
        lstm.batch_first,
        lstm.dropout,
        lstm.bidirectional,
        device=first.weight_x.device,
        dtype=first.weight_x.dtype,
    )
    for k, suffix in enumerate(_suffixes(lstm.num_layers, lstm.bidirectional)):
        cell = lstm.cell(k)
        theirs.get_parameter("weight_ih" + suffix).copy_(cell.weight_x)
        theirs.get_parameter("weight_hh" + suffix).copy_(cell.weight_h)
        if cell.bias is not None:
            theirs.get_parameter("bias_ih" + suffix).copy_(cell.bias)
            theirs.get_parameter("bias_hh" + suffix).zero_()
    return theirs.train(lstm.training)
