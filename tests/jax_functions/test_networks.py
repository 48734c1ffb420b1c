"""The functions for JAX compute what the torch networks compute: outputs, states and all gradients, in float64."""

from typing import Any

import numpy as np
import pytest
import torch

import hypernetworks as hn

from ..interop.goldens import LABML, load, under

jax = pytest.importorskip("jax")
jnp = jax.numpy

from hypernetworks import jax as hj  # noqa: E402

T, B, I, H = 5, 3, 4, 7
OF_HYPER = {"hyper_size": 5, "hyper_embedding_size": 2}
NETWORKS: dict[str, tuple[type, dict[str, Any], Any, Any]] = {
    "lstm": (hn.LSTM, {}, hj.lstm, hj.lstm_step),
    "lstm-without-bias": (hn.LSTM, {"bias": False}, hj.lstm, hj.lstm_step),
    "layer-norm-lstm": (hn.LSTM, {"layer_norm": True}, hj.lstm, hj.lstm_step),
    "gru": (hn.GRU, {}, hj.gru, hj.gru_step),
    "gru-without-bias": (hn.GRU, {"bias": False}, hj.gru, hj.gru_step),
    "layer-norm-gru": (hn.GRU, {"layer_norm": True}, hj.gru, hj.gru_step),
    "hyper-lstm": (hn.HyperLSTM, OF_HYPER, hj.hyper_lstm, hj.hyper_lstm_step),
    "hyper-lstm-without-norm": (hn.HyperLSTM, OF_HYPER | {"layer_norm": False}, hj.hyper_lstm, hj.hyper_lstm_step),
}

pytestmark = pytest.mark.usefixtures("float64")


def network(name: str) -> torch.nn.Module:
    """A network in which no weight is zero or one, else what depends on it would not be compared."""
    kind, settings, _, _ = NETWORKS[name]
    torch.manual_seed(0)
    made = kind(I, H, dtype=torch.float64, **settings)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made


def parts(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def close(ours: Any, expected: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_output_state_and_gradients_are_those_of_the_torch_network(name: str) -> None:
    rnn, scan = network(name), NETWORKS[name][2]
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        shapes = [part.shape for part in parts(rnn(x)[1])]
    state = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    output, final = rnn(x, state[0] if len(state) == 1 else tuple(state))
    cotangents = [torch.randn_like(tensor) for tensor in (output, *parts(final))]
    torch.autograd.backward((output, *parts(final)), cotangents)

    given = tuple(jnp.array(part.detach()[0]) for part in state)
    weights = hj.layer(hj.from_torch(rnn), 0)
    run = jax.jit(lambda weights, x, state: scan(weights, x, state[0] if len(state) == 1 else state))
    (made, made_final), pull = jax.vjp(run, weights, jnp.array(x.detach()), given)
    close(made, output.detach())
    for part, expected in zip(parts(made_final), parts(final), strict=True):
        close(part, expected.detach()[0])
    of_final = [jnp.array(cotangent[0]) for cotangent in cotangents[1:]]
    structure = of_final[0] if len(of_final) == 1 else type(made_final)(*of_final)
    of_weights, of_x, of_state = pull((jnp.array(cotangents[0]), structure))
    close(of_x, x.grad)
    for part, expected in zip(of_state, state, strict=True):
        close(part, expected.grad[0])
    expected = {name: parameter.grad for name, parameter in rnn.cell(0).named_parameters()}
    assert of_weights.keys() == expected.keys()
    for parameter, gradient in of_weights.items():
        close(gradient, expected[parameter])


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_the_scan_and_start_from_zeros(name: str) -> None:
    _, _, scan, step = NETWORKS[name]
    step = jax.jit(step)
    weights = hj.layer(hj.from_torch(network(name)), 0)
    x = jnp.array(np.random.default_rng(0).normal(size=(T, B, I)))
    output, final = scan(weights, x)
    state = None
    for t in range(T):
        h, state = step(weights, x[t], state)
        close(h, output[t])
    for part, expected in zip(parts(state), parts(final), strict=True):
        close(part, expected)


def test_a_batch_of_networks_by_vmap_is_one_after_the_other() -> None:
    several = [hj.layer(hj.from_torch(network("hyper-lstm")), 0)]
    several.append({name: array * 1.1 for name, array in several[0].items()})
    stacked = {name: jnp.stack([weights[name] for weights in several]) for name in several[0]}
    x = jnp.array(np.random.default_rng(0).normal(size=(T, B, I)))
    together, _ = jax.jit(jax.vmap(hj.hyper_lstm, in_axes=(0, None)))(stacked, x)
    for k, weights in enumerate(several):
        close(together[k], jax.jit(hj.hyper_lstm)(weights, x)[0])


def test_epsilon_is_that_of_the_norms() -> None:
    rnn = hn.HyperLSTM(I, H, **OF_HYPER, layer_norm_eps=0.1, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    weights = hj.layer(hj.from_torch(rnn), 0)
    close(hj.hyper_lstm(weights, jnp.array(x), eps=0.1)[0], rnn(x)[0].detach())
    assert abs(hj.hyper_lstm(weights, jnp.array(x))[0] - rnn(x)[0].detach().numpy()).max() > 1e-3


@pytest.mark.parametrize("name", ["labml_hyperlstm_2layer", "labml_lstm_2layer", "labml_lstm_cell_layernorm"])
def test_outputs_and_gradients_that_another_implementation_printed(name: str) -> None:
    data = load(name)
    network, printed = (LABML[name](under(data, prefix)) for prefix in ("param/", "grad/"))
    scan = hj.hyper_lstm if "hyper" in name else hj.lstm
    count = len(under(data, "state0/"))
    initial = [data[f"state0/{k}"] for k in range(count)]
    initial = [part if part.ndim == 3 else part[None] for part in initial]

    @jax.jit
    def run(weights: Any, x: Any, initial: Any) -> Any:
        finals = []
        for k in range(len(initial[0])):
            x, final = scan(hj.layer(weights, k), x, tuple(part[k] for part in initial))
            finals.append(final)
        return x, [jnp.stack(part) for part in zip(*finals, strict=True)]

    weights = hj.from_torch(network)
    out, pull, final = jax.vjp(run, weights, jnp.array(data["x"]), [jnp.array(part) for part in initial], has_aux=True)
    of_weights, of_x, of_initial = pull(jnp.array(data["cotangent"]))
    close(out, data["out"], 1e-10)
    close(of_x, data["grad_x"], 1e-10)
    for k in range(count):
        close(final[k].reshape(data[f"state/{k}"].shape), data[f"state/{k}"], 1e-10)
        close(of_initial[k].reshape(data[f"grad_state0/{k}"].shape), data[f"grad_state0/{k}"], 1e-10)
    expected = hj.from_torch(printed)
    assert of_weights.keys() == expected.keys()
    for parameter, gradient in expected.items():
        assert abs(gradient).max() > 0
        close(of_weights[parameter], gradient, 1e-10)


@pytest.mark.parametrize(
    "name", ["supercell_hyperlstm_layernorm", "supercell_hyperlstm_plain", "supercell_lstm_layernorm"]
)
def test_outputs_that_the_first_authors_code_printed(name: str) -> None:
    data = load(name)
    convert = hn.interop.hyper_lstm_from_supercell if "hyper" in name else hn.interop.lstm_from_supercell
    network = convert(under(data, "param/"))
    H = network.hidden_size
    eps = network.cell(0).main.norm.eps if "hyper" in name and "plain" not in name else 1e-3
    # main and hyper state stand side by side in theirs
    state = [
        part for both in zip(np.split(data["h0"], [H], 1), np.split(data["c0"], [H], 1), strict=True) for part in both
    ]
    scan, count = (hj.hyper_lstm, 4) if "hyper" in name else (hj.lstm, 2)
    weights = hj.layer(hj.from_torch(network), 0)
    out, _ = scan(weights, jnp.array(data["x"]), tuple(jnp.array(part) for part in state[:count]), eps=eps)
    close(out, data["out"], 1e-5)
