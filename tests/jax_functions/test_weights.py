"""Weights between torch and JAX, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import hypernetworks as hn

jax = pytest.importorskip("jax")
jnp = jax.numpy

from hypernetworks import jax as hj  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    rnn = hn.HyperLSTM(3, 5, 2, hyper_size=4, hyper_embedding_size=2, dtype=dtype)
    other = hn.HyperLSTM(3, 5, 2, hyper_size=4, hyper_embedding_size=2, dtype=dtype)
    weights = hj.from_torch(rnn)
    assert {str(array.dtype) for array in weights.values()} == {str(dtype).removeprefix("torch.")}
    hj.to_torch(weights, other)
    for name, tensor in rnn.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_the_arrays_are_copies() -> None:
    rnn = hn.LSTM(3, 5)
    weights = hj.from_torch(rnn)
    before = np.array(weights["cells.0.weight_x"])
    with torch.no_grad():
        rnn.cell(0).weight_x.zero_()
    assert np.array_equal(weights["cells.0.weight_x"], before)


def test_flat_arrays_can_be_saved_by_numpy(tmp_path) -> None:
    weights = hj.from_torch(hn.GRU(3, 5))
    np.savez(tmp_path / "weights.npz", **weights)
    x = jnp.ones((4, 2, 3))
    with np.load(tmp_path / "weights.npz") as file:
        loaded = dict(file)
    assert all(np.array_equal(loaded[name], array) for name, array in weights.items())
    output, _ = hj.gru(hj.layer(loaded, 0), x)
    # XLA may multiply by an array of NumPy's in another order of the sum
    assert np.allclose(output, hj.gru(hj.layer(weights, 0), x)[0], rtol=0, atol=1e-6)


def test_float64_is_not_rounded_silently() -> None:
    with pytest.raises(ValueError, match=r"cells\.0\.weight_x is float64, .*jax_enable_x64"):
        hj.from_torch(hn.LSTM(3, 5, dtype=torch.float64))


def test_wrong_names_and_shapes_change_nothing() -> None:
    rnn = hn.LSTM(3, 5)
    before = {name: tensor.clone() for name, tensor in rnn.state_dict().items()}
    weights = {name: array * 2 for name, array in hj.from_torch(rnn).items()}
    with pytest.raises(ValueError, match=r"only one of both has \['cells\.0\.bias'\]"):
        hj.to_torch({name: array for name, array in weights.items() if not name.endswith("bias")}, rnn)
    with pytest.raises(ValueError, match=r"cells\.0\.bias: got shape \(7,\), expected \(20,\)"):
        hj.to_torch(weights | {"cells.0.bias": jnp.ones(7)}, rnn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in rnn.state_dict().items())


def test_errors_name_what_was_passed() -> None:
    weights = hj.from_torch(hn.HyperLSTM(3, 5, hyper_size=4, hyper_embedding_size=2))
    with pytest.raises(ValueError, match=r"start with 'cells\.1\.'"):
        hj.layer(weights, 1)
    cell = hj.layer(weights, 0)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\), expected \(T, B, 3\)"):
        hj.hyper_lstm(cell, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"x: got shape \(2, 4\), expected \(B, 3\)"):
        hj.hyper_lstm_step(cell, jnp.ones((2, 4)))
    zeros = [jnp.zeros((2, size)) for size in (5, 5, 4, 5)]
    with pytest.raises(ValueError, match=r"state hyper_c: got shape \(2, 5\), expected \(2, 4\)"):
        hj.hyper_lstm_step(cell, jnp.ones((2, 3)), zeros)
    with pytest.raises(ValueError, match=r"state h: got shape \(5,\), expected \(2, 5\)"):
        hj.gru_step(hj.from_torch(hn.GRUCell(3, 5)), jnp.ones((2, 3)), jnp.zeros(5))


def test_without_jax_one_line_names_the_extra() -> None:
    program = "import sys; sys.modules['jax'] = None; from hypernetworks import jax"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("hypernetworks.jax needs JAX: pip install 'hypernetworks[jax]'")
