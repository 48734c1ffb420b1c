"""The layer-normalised HyperLSTM as a JAX scan: the equations of hyper_lstm.py, compiled by XLA.

    wx, ŵx = W_x x, Ŵ_x x + b̂                                         for all t at once
    ĥ_t    = LSTM(ŵx_t + Ŵ_h h_{t-1} + Û ĥ_{t-1})                     the hyper cell
    d_a^y  = D_a^y (P_a^y ĥ_t + p_a^y)                                for a of h, x, b and y of i, f, g, o; no p for b
    h_t    = LSTM(d_h ⊙ W_h h_{t-1} + d_x ⊙ wx_t + d_b + b)           LN for each gate, LN_c on the way to h

The forward pass is one compiled program; forward and backward pass together are another.

T time, B batch, I input, H hidden, K hyper hidden, Z embedding.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypernetworks.bench.case import Case
from hypernetworks.bench.implementation import GENERATED, Implementation, NamedTensors, RunResult, hn_names
from hypernetworks.bench.sizes import Quantity
from hypernetworks.recurrent import HyperLSTM

TOLERANCE = 1e-4
"""Looser than between our own paths: XLA uses another order of summation, in float32."""


def is_installed() -> bool:
    """Whether JAX can be imported."""
    return find_spec("jax") is not None


def import_jax(threads: int) -> Any:
    """Import JAX for the CPU. The number of threads takes effect only at the first import in a process."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["NPROC"] = str(threads)  # XLA reads the size of its thread pools from here when it starts
    import jax  # pyright: ignore[reportMissingImports]

    return jax


def make_forward(jax: Any, eps: float) -> Any:
    """Make `forward(parameters, x, state) -> output, state`; parameters are those of HyperLSTMCell, by name."""
    jnp = jax.numpy

    def norm(a: Any, gain: Any, shift: Any) -> Any:
        """LN(a) = (a − mean) / sqrt(var + ε) ⊙ gain + shift."""
        a = a - a.mean(-1, keepdims=True)
        return a * jax.lax.rsqrt((a * a).mean(-1, keepdims=True) + eps) * gain + shift

    def lstm(pre: Any, c: Any, w: Mapping[str, Any], prefix: str) -> Any:
        """h and c from pre, (B, 4, n)."""
        i, f, g, o = jnp.moveaxis(norm(pre, w[f"{prefix}norm.gain"], w[f"{prefix}norm.shift"]), 1, 0)
        # c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh g;  h_t = σ(o) ⊙ tanh(LN_c(c_t))
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        c_normed = norm(c, w[f"{prefix}cell_norm.gain"], w[f"{prefix}cell_norm.shift"])
        return jax.nn.sigmoid(o) * jnp.tanh(c_normed), c

    def forward(w: Mapping[str, Any], x: Any, state: Any) -> Any:
        (T, B, I), H = x.shape, w["main.weight_h"].shape[1]
        blocks, Z, K = w["hyper.P"].shape
        hyper_x, hyper_h = w["hyper.lstm.weight_x"][:, :I], w["hyper.lstm.weight_x"][:, I:]
        P, D = w["hyper.P"].reshape(blocks * Z, K), w["hyper.D"]
        p = jnp.pad(w["hyper.p"], ((0, blocks - w["hyper.p"].shape[0]), (0, 0)))
        on_h = jnp.concatenate((w["main.weight_h"], hyper_h))
        b = w["main.bias"].reshape(4, H)
        products = x.reshape(T * B, I) @ jnp.concatenate((w["main.weight_x"], hyper_x)).T
        wx, hyper_wx = jnp.split(products.reshape(T, B, 4 * H + 4 * K), (4 * H,), axis=-1)

        def step(carry: Any, of_x: Any) -> Any:
            h, c, hyper_h, hyper_c = carry
            wx, hyper_wx = of_x
            wh, hyper_wh = jnp.split(h @ on_h.T, (4 * H,), axis=-1)
            # ĥ_t = LSTM(ŵx_t + Ŵ_h h_{t-1} + Û ĥ_{t-1})
            hyper_pre = hyper_wx + hyper_wh + hyper_h @ w["hyper.lstm.weight_h"].T
            hyper_h, hyper_c = lstm(hyper_pre.reshape(B, 4, K), hyper_c, w, "hyper.lstm.")
            # z_a^y = P_a^y ĥ_t + p_a^y;  d_a^y = D_a^y z_a^y
            z = (hyper_h @ P.T).reshape(B, blocks, Z) + p
            d_h, d_x, d_b = jnp.split(jnp.einsum("baz,ahz->bah", z, D), 3, axis=1)
            # h_t = LSTM(d_h ⊙ W_h h_{t-1} + d_x ⊙ wx_t + d_b + b)
            pre = d_h * wh.reshape(B, 4, H) + d_x * wx.reshape(B, 4, H) + d_b + b
            h, c = lstm(pre, c, w, "main.")
            return (h, c, hyper_h, hyper_c), h

        state, output = jax.lax.scan(step, state, (wx, hyper_wx + w["hyper.lstm.bias"]))
        return output, state

    return forward


class JaxScan(Implementation):
    """The scan with the weights of `case.module`, a HyperLSTM with one layer."""

    name = "jax"
    tolerance = TOLERANCE

    def __init__(self, case: Case) -> None:
        assert isinstance(case.module, HyperLSTM)
        cell = case.module.cell(0)
        assert cell.main.norm is not None
        self._jax = import_jax(torch.get_num_threads())
        self._weights = {name: self._array(tensor) for name, tensor in cell.named_parameters()}
        self._x, self._cotangent = self._array(case.x), self._array(case.cotangent)
        self._zeros = tuple(self._array(zeros) for zeros in cell.zero_state(case.x, case.size.B))
        self._forward = make_forward(self._jax, cell.main.norm.eps)
        self._programs: dict[bool, Any] = {}

    def prepare(self, quantity: Quantity) -> None:
        """Compile the program."""
        self._program(quantity)

    def run(self, quantity: Quantity) -> RunResult:
        """Run the program and wait for its result; in generation, for the result of each step."""
        program, arguments = self._program(quantity)
        if quantity != "generation":
            return RunResult(*self._jax.block_until_ready(program(*arguments)))
        weights, x, zeros = arguments
        result = (None, zeros if self.state is None else self.state)
        for _ in range(GENERATED):
            result = self._jax.block_until_ready(program(weights, x, result[1]))
        self.state = result[1]
        return RunResult(*result)

    def _program(self, quantity: Quantity) -> tuple[Any, tuple[Any, ...]]:
        """The compiled program and its arguments."""
        with_gradients = quantity in ("training", "memory")
        arguments = (self._weights, self._x, self._zeros)
        if with_gradients:
            arguments = (*arguments, self._cotangent)
        if with_gradients not in self._programs:
            function = self._with_gradients if with_gradients else self._forward
            self._programs[with_gradients] = self._jax.jit(function).lower(*arguments).compile()
        return self._programs[with_gradients], arguments

    def _with_gradients(self, weights: Any, x: Any, state: Any, cotangent: Any) -> Any:
        run = lambda weights, x: self._forward(weights, x, state)  # noqa: E731
        output, pull, state = self._jax.vjp(run, weights, x, has_aux=True)
        return output, state, pull(cotangent)

    def named(self, result: RunResult) -> NamedTensors:
        """Output, state and gradients as torch tensors."""
        gradients, of_x = result.gradients if result.gradients else ({}, None)
        named = {f"cells.0.{name}": _tensor(gradient) for name, gradient in gradients.items()}
        state = tuple(_tensor(array) for array in result.state)
        return hn_names(_tensor(result.output), state, () if of_x is None else (_tensor(of_x),), named)

    def _array(self, tensor: Tensor) -> Any:
        return self._jax.numpy.array(tensor.detach().numpy())


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))
