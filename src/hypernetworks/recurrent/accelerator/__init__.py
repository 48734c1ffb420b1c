"""Kernels for accelerators, written in Triton: layers of LSTM and HyperLSTM, with or without layer norm.

`dispatch` decides whether a layer runs on them, and needs no triton; everything else here does.
"""
