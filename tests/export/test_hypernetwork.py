"""HyperNetworks exported with the condition as an argument and with stored weights: torch.export and ONNX."""

import numpy as np
import pytest
import torch
from torch import nn

import hypernetworks as hn

GENERATORS = {"full": lambda: hn.FullGenerator(4), "low-rank": lambda: hn.LowRankGenerator(4, rank=2)}
BATCH = torch.export.Dim("batch", min=1, max=999)


class WithCondition(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, condition):
        return self.net(x, condition=condition)


def net_of(generator):
    torch.manual_seed(0)
    target = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    net = hn.HyperNetwork(target, generator).eval()
    for parameter in net.generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_the_condition_is_an_argument_or_its_weights_are_stored(make):
    net = net_of(make())
    x, condition = torch.randn(5, 3), torch.randn(4)
    program = torch.export.export(WithCondition(net).eval(), (x, condition), dynamic_shapes=({0: BATCH}, None))
    stored = torch.export.export(net.materialize(condition).eval(), (x,), dynamic_shapes=({0: BATCH},))
    for batch in (1, 5, 9):
        x, other = torch.randn(batch, 3), torch.randn(4)
        torch.testing.assert_close(program.module()(x, other), net(x, condition=other))
        torch.testing.assert_close(stored.module()(x), net(x, condition=condition))


def test_a_condition_for_each_sample_fixes_the_batch():
    net = net_of(hn.FullGenerator(4))
    x, conditions = torch.randn(5, 3), torch.randn(5, 4)
    program = torch.export.export(WithCondition(net).eval(), (x, conditions))
    torch.testing.assert_close(program.module()(x, conditions), net(x, condition=conditions))
    with pytest.raises(Exception, match="specialized it to be a constant"):
        torch.export.export(WithCondition(net).eval(), (x, conditions), dynamic_shapes=({0: BATCH}, {0: BATCH}))


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.:FutureWarning")
def test_onnx_computes_the_same():
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net = net_of(hn.FullGenerator(4))
    given = (torch.randn(5, 3), torch.randn(4))
    program = torch.onnx.export(
        WithCondition(net).eval(), given, dynamo=True, verbose=False, dynamic_shapes=({0: BATCH}, None)
    )
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    for batch in (1, 5, 9):
        x, condition = torch.randn(batch, 3), torch.randn(4)
        (found,) = session.run(None, {"x": x.numpy(), "condition": condition.numpy()})
        assert np.abs(found - net(x, condition=condition).detach().numpy()).max() <= 1e-5
