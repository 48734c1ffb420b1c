"""Layers on accelerators: Triton kernels of LSTM, GRU and HyperLSTM; for others, the reference path's steps in CUDA graphs.

    dispatch        which path a layer takes, and why
    operators       the kernels as torch's operators call them
    lstm, gru, hyper_lstm    the time loops: which kernels run, on which tensors; loop has what they share
    lstm_cell, gru_cell, hyper_cell, scales, products, sums    the kernels; parts has what they share
    steps           the reference path's steps in CUDA graphs
    graphs          what was captured

`dispatch`, `steps` and `graphs` need no triton; everything else here does.
"""
