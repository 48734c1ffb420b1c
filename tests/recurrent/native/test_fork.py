"""Networks in children made by fork, after their parent ran on several threads.

They are small: torch's own operators hang in such a child on tensors of more than 32,768 numbers.
"""

import json
import subprocess
import sys

import pytest

PARENT = """
import json, multiprocessing, sys
import torch, hypernetworks as hn

torch.set_num_threads(2)
torch.manual_seed(0)
network, x = getattr(hn, sys.argv[1])(16, 32, **json.loads(sys.argv[3])), torch.randn(20, 8, 16)

def train():
    network.zero_grad()
    output, _ = network(x)
    output.square().mean().backward()
    with torch.no_grad(), network.stepper(batch=1) as step:
        last = step(x[0, :1])
    numbers = [output.detach(), last, *(parameter.grad for parameter in network.parameters())]
    return [number.clone() for number in numbers]

class Outputs(torch.utils.data.Dataset):
    def __len__(self): return 2
    def __getitem__(self, index): return network(x)[0].detach()

own = train()

def child(path):
    torch.save(train(), path)

process = multiprocessing.get_context("fork").Process(target=child, args=(sys.argv[2],))
process.start()
process.join()
assert process.exitcode == 0
for one, other in zip(own, torch.load(sys.argv[2]), strict=True):
    torch.testing.assert_close(other, one)
loader = torch.utils.data.DataLoader(Outputs(), num_workers=1, multiprocessing_context="fork")
for output in loader:
    torch.testing.assert_close(output[0], own[0])
assert train()[0].equal(own[0])  # the parent still runs on two threads
print("done")
"""


HYPER = {"hyper_size": 16, "hyper_embedding_size": 4}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("LSTM", {}), ("RHN", {}), ("HyperLSTM", HYPER), ("HyperGRU", HYPER)],
    ids=lambda given: str(given),
)
def test_a_forked_child_ends_and_has_the_parents_numbers(tmp_path, name, settings):
    done = subprocess.run(
        [sys.executable, "-c", PARENT, name, str(tmp_path / "numbers.pt"), json.dumps(settings)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "done\n", done.stderr
