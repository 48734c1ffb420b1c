"""A HyperNetwork that is saved to a folder and loaded computes the same; damaged folders and other targets are refused."""

import hashlib
import json
import os
import signal

import pytest
import torch
from torch import nn

import hypernetworks as hn
from hypernetworks import saving
from hypernetworks.errors import UsageError
from hypernetworks.runs import checkpoint
from hypernetworks.runs.checkpoint import load_model, save_model
from hypernetworks.saving import _KNOWN

C = 3


def target(n_in=5, dtype=torch.float64):
    return nn.Sequential(nn.Linear(n_in, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)).to(dtype)


GENERATORS = {
    "full": lambda: hn.FullGenerator(C, (5, 6), init="hyperfan-out", gain=1.0, condition_moment=2.0, activation="tanh"),
    "chunked": lambda: hn.ChunkedGenerator(C, chunk_size=20, embedding_size=3, hidden=(), init="target"),
    "low-rank": lambda: hn.LowRankGenerator(C, rank=2, alpha=5),
    "shared": lambda: hn.SharedLowRankGenerator(C, rank=2, embedding_size=3),
    "row-scale": lambda: hn.RowScaleGenerator(C, (4,), activation="silu"),
    "chain": lambda: hn.GeneratorChain(hn.FullGenerator(C), hn.RowScaleGenerator(C)),
    "split": lambda: hn.GeneratorSplit(
        {
            nn.BatchNorm1d: hn.RowScaleGenerator(C),
            (lambda name, m: name == "0"): hn.FullGenerator(C),
            None: hn.LowRankGenerator(C),
        }
    ),
    "residual": lambda: hn.ResidualGenerator(hn.ChunkedGenerator(C), scale=0.5),
    "cos-sin": lambda: hn.EncodedGenerator(hn.CosSinEncoder(C, -2.0, 2.0), hn.FullGenerator(2 * C)),
    "fourier": lambda: hn.EncodedGenerator(hn.FourierEncoder(C, 4, 0.5), hn.FullGenerator(8)),
}


def shaken(generator, modules=None, of=target):
    net = hn.HyperNetwork(of(), generator, modules)
    for parameter in net.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.5)
    net.target(torch.randn(20, 5, dtype=torch.float64))  # running statistics
    return net.eval()


def same(net, again):
    x = torch.randn(6, 5, dtype=torch.float64)
    for c in (torch.randn(C, dtype=torch.float64), torch.randn(6, C, dtype=torch.float64)):
        assert torch.equal(again.eval()(x, condition=c), net(x, condition=c))
    assert again.generator.names == net.generator.names


@pytest.mark.parametrize("kind", GENERATORS)
def test_what_is_loaded_computes_the_same(kind, tmp_path):
    net = shaken(GENERATORS[kind]())
    hn.save(net, tmp_path / "run")
    again = hn.load(tmp_path / "run", target())
    same(net, again)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in net.parameters()]
    hn.save(again, tmp_path / "again")
    assert (tmp_path / "run/config.json").read_bytes() == (tmp_path / "again/config.json").read_bytes()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in net.state_dict().items())


def test_every_generator_and_encoder_can_be_described(tmp_path):
    made = {type(part).__name__ for make in GENERATORS.values() for part in make().modules()}
    assert set(_KNOWN) == (made & set(_KNOWN)) | {"TiledKernelGenerator"}
    net = hn.HyperNetwork(
        nn.Conv2d(4, 8, 3), hn.TiledKernelGenerator(2, tile=4, init="hyperfan-out", gain=1.0), "weight"
    )
    hn.save(net, tmp_path)
    assert torch.equal(hn.load(tmp_path, nn.Conv2d(4, 8, 3)).generate()["weight"], net.generate()["weight"])


class Tied(nn.Module):
    """Two heads with one matrix."""

    def __init__(self):
        super().__init__()
        self.body, self.head = target(), nn.Linear(8, 4, dtype=torch.float64)
        self.head.weight = self.body[3].weight

    def forward(self, x):
        return self.body(x) + self.head(self.body[:3](x))


def test_a_part_of_a_tied_target(tmp_path):
    net = shaken(hn.LowRankGenerator(C, rank=2), ["head.weight", "body.0.bias"], Tied)
    hn.save(net, tmp_path)
    same(net, hn.load(tmp_path, Tied()))


def test_without_the_target(tmp_path):
    net = shaken(hn.LowRankGenerator(C, rank=2))
    other = target()
    other.load_state_dict(net.target.state_dict())
    hn.save(net, tmp_path, with_target=False)
    same(net, hn.load(tmp_path, other))
    assert all(name.startswith("generator.") for name in load_model(tmp_path / "model.safetensors")[0])
    fresh = hn.load(tmp_path, target())  # another base: its own values stay
    assert not torch.equal(fresh.target[0].weight, net.target[0].weight)


def test_a_folder_without_a_name_is_refused():
    net = hn.HyperNetwork(nn.Linear(4, 3), hn.LowRankGenerator(2, rank=1))
    with pytest.raises(UsageError, match="folder should be the name of a folder, got an empty text"):
        hn.save(net, "")


def test_dtypes(tmp_path):
    """The generator comes back in its own dtype, and the target keeps the one it has."""
    net = hn.HyperNetwork(target(dtype=torch.bfloat16), hn.LowRankGenerator(C, rank=2))
    hn.save(net, tmp_path)
    again = hn.load(tmp_path, target(dtype=torch.bfloat16))
    assert next(again.generator.parameters()).dtype == torch.float32
    assert again.target[0].weight.dtype == torch.bfloat16
    net.generator.to(torch.bfloat16)
    hn.save(net, tmp_path)
    assert next(hn.load(tmp_path, target(dtype=torch.bfloat16)).generator.parameters()).dtype == torch.bfloat16


class Own(hn.FullGenerator):
    """A generator of the user's."""

    def __init__(self, size, name):
        super().__init__(size)
        self.name_of_mine = name


def test_a_generator_of_the_users_own_is_given(tmp_path):
    net = shaken(Own(C, "x"))
    hn.save(net, tmp_path)
    with pytest.raises(
        ValueError, match=r"has a Own, which is not part of this library: give load\(\.\.\., generator="
    ):
        hn.load(tmp_path, target())
    with pytest.raises(ValueError, match="has a Own, got generator=FullGenerator"):
        hn.load(tmp_path, target(), generator=hn.FullGenerator(C))
    same(net, hn.load(tmp_path, target(), generator=Own(C, "x")))


def test_an_encoder_of_the_users_own_is_given_with_its_generator(tmp_path):
    def make():
        return hn.EncodedGenerator(nn.Linear(C, 4), hn.FullGenerator(4), condition_size=C)

    net = shaken(make())
    hn.save(net, tmp_path)
    with pytest.raises(ValueError, match="has a Linear, which is not part of this library"):
        hn.load(tmp_path, target())
    same(net, hn.load(tmp_path, target(), generator=make()))


def test_other_targets_and_generators(tmp_path):
    hn.save(shaken(hn.FullGenerator(C)), tmp_path)
    message = r"generates weights of another target than this Sequential: 0\.weight \(8, 5\) \(here \(8, 6\)\)"
    with pytest.raises(ValueError, match=message):
        hn.load(tmp_path, target(6))
    message = r"than this Linear: 0\.weight \(8, 5\) \(here missing\), .* and 2 more"
    with pytest.raises(ValueError, match=message):
        hn.load(tmp_path, nn.Linear(5, 4))
    more = target()
    more.register_buffer("extra", torch.zeros(1))
    with pytest.raises(ValueError, match=r"only one of them has target\.extra"):
        hn.load(tmp_path, more)
    with pytest.raises(TypeError, match=r"target should be a torch\.nn\.Module, got str"):
        hn.load(tmp_path, "model")
    with pytest.raises(TypeError, match="net should be a HyperNetwork, got Sequential"):
        hn.save(target(), tmp_path)
    hn.save(shaken(Own(C, "x")), tmp_path)
    wider = Own(C, "x")
    wider.hidden = (7,)
    with pytest.raises(ValueError, match=r"does not fit .*: generator\.trunk\.0\.weight \(64, 3\) \(here \(7, 3\)\)"):
        hn.load(tmp_path, target(), generator=wider)


@pytest.mark.parametrize("wrong", ["a buffer more", "a generator of another size", "another shape"])
def test_a_load_that_fails_changes_nothing(wrong, tmp_path):
    hn.save(shaken(hn.GeneratorChain(Own(C, "x"), hn.RowScaleGenerator(C))), tmp_path)
    given, own = target(6 if wrong == "another shape" else 5), Own(C, "x")
    generator = hn.GeneratorChain(own, hn.RowScaleGenerator(C))
    if wrong == "a buffer more":
        given.register_buffer("extra", torch.zeros(1))
    if wrong == "a generator of another size":
        own.hidden = (7,)
    given[1].weight.requires_grad_(False)
    trained = [parameter.requires_grad for parameter in given.parameters()]
    before = [(parameter, parameter.clone()) for parameter in given.parameters()]
    attributes = [dict(vars(module)) for module in generator.modules()]
    with pytest.raises(ValueError, match=r"does not fit|of another target"):
        hn.load(tmp_path, given, generator=generator)
    assert [parameter.requires_grad for parameter in given.parameters()] == trained
    for parameter, (old, value) in zip(given.parameters(), before, strict=True):
        assert parameter is old
        assert torch.equal(parameter, value)
    assert [dict(vars(module)) for module in generator.modules()] == attributes
    assert [*generator.parameters()] == []
    hn.HyperNetwork(target(), generator)  # it is not bound


def killed(writer, net, folder):
    """Save in a process that is killed when this module would write its file."""
    child = os.fork()
    if not child:
        try:
            writer.write_whole = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            hn.save(net, folder)
        finally:
            os._exit(1)  # it was not killed
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("writer", [checkpoint, saving], ids=["before the model", "between the files"])
def test_a_killed_save_leaves_the_old_network_or_the_new_one(writer, tmp_path):
    old, new = shaken(hn.FullGenerator(C)), shaken(hn.LowRankGenerator(C, rank=2))
    hn.save(old, tmp_path)
    killed(writer, new, tmp_path)
    same(old if writer is checkpoint else new, hn.load(tmp_path, target()))
    hn.save(new, tmp_path)
    same(new, hn.load(tmp_path, target()))
    assert json.loads((tmp_path / "config.json").read_text())["generator"]["class"] == "LowRankGenerator"


def test_a_killed_first_save(tmp_path):
    net = shaken(hn.FullGenerator(C))
    killed(saving, net, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    same(net, hn.load(tmp_path, target()))


def as_before(folder):
    """Turn a folder into one of an earlier version, which had only the digest of config.json in the other file."""
    tensors, metadata = load_model(folder / "model.safetensors")
    digest = hashlib.sha256(metadata["config.json"].encode()).hexdigest()
    save_model(folder / "model.safetensors", tensors, {"config": digest})


def test_folders_of_earlier_versions(tmp_path):
    net = shaken(hn.FullGenerator(C))
    hn.save(net, tmp_path)
    as_before(tmp_path)
    same(net, hn.load(tmp_path, target()))
    with (tmp_path / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(UsageError, match="are not from the same call of"):
        hn.load(tmp_path, target())
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match=r"config\.json: no such file"):
        hn.load(tmp_path, target())


def described(folder, text):
    """Give a folder another description of its generator."""
    tensors, _ = load_model(folder / "model.safetensors")
    save_model(folder / "model.safetensors", tensors, {"config.json": text})


def test_damaged_folders(tmp_path):
    with pytest.raises(UsageError, match="none: no such folder, expected a run, or a HyperNetwork"):
        hn.load(tmp_path / "none", target())
    hn.save(shaken(hn.FullGenerator(C)), tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UsageError, match=r"model\.safetensors: damaged"):
        hn.load(tmp_path, target())
    (tmp_path / "model.safetensors").write_bytes(whole.replace(b"condition_size", b"condition_bias"))
    with pytest.raises(UsageError, match=r"model\.safetensors: damaged"):
        hn.load(tmp_path, target())
    (tmp_path / "model.safetensors").write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text()) | {"format": "hypernetwork 9"}
    described(tmp_path, json.dumps(config))
    with pytest.raises(UsageError, match="format is 'hypernetwork 9', expected 'hypernetwork 1'"):
        hn.load(tmp_path, target())
    described(tmp_path, "[]")
    with pytest.raises(UsageError, match="expected a JSON object"):
        hn.load(tmp_path, target())
