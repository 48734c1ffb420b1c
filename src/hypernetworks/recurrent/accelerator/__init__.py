"""Layers on accelerators: Triton kernels of LSTM, GRU and HyperLSTM; for others, the reference path's steps in CUDA graphs.

    dispatch        which path a layer takes, and why
    operators       the kernels as torch's operators call them
    lstm, gru, hyper_lstm    the time loops: which kernels run, on which tensors; loop has what they share
    lstm_cell, gru_cell, hyper_cell, scales, products, sums    the kernels of single steps; parts has what all kernels share
    scan            the time loops of small layers: each pass is one kernel
    lstm_scan, gru_scan, hyper_scan    their kernels
    steps           the reference path's steps in CUDA graphs
    graphs          what was captured

`dispatch`, `steps` and `graphs` need no triton; everything else here does.
"""
