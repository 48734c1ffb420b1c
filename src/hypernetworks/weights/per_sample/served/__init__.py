"""The functions of torch that know forms: each computes for all samples what it would compute with each sample's weights.

    linear, addmm, matmul         y_n = x_n W_nᵀ + b_n                       the products of `forms.py`
    conv1d to conv3d, transposed  row scales after or before one convolution with W; everything else as one grouped convolution
    embedding                     rows of W_n
    norms                         the norm without its affine part, then ⊙ γ_n + β_n
    +, -, *, /                    with a vector for each sample
    chunk, split, slices, .t()    of a parameter: forms again; its dtype, and numbers added or multiplied, too

B samples, k rows of each sample in a batch dimension, G groups of a convolution.
"""

from hypernetworks.weights.per_sample.served import arithmetic, convolutions, norms, parts, products, tables

__all__ = ["arithmetic", "convolutions", "norms", "parts", "products", "tables"]
