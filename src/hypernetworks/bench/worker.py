"""One network of one source tree, in a process of its own: what `hypernetworks bench --against` starts twice.

    python -P worker.py THREADS                              with PYTHONPATH set to the tree

Each line of its input is a command in JSON, and each line of its output the answer to it. It is run by its path, so it imports
nothing but torch and the tree's `hypernetworks`, of which it needs no more than the network.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

import hypernetworks as hn


class Worker:
    """A network, its input (T, B, I) and the gradient of its output."""

    def make(self, network: str, settings: dict[str, Any], file: str) -> None:
        """Make the network with the weights, the input and the cotangent in a file.

        Raises:
            RuntimeError: the tree has no such network, or one with other arguments or parameters.
        """
        case = torch.load(file, weights_only=True)
        if not hasattr(hn, network):
            raise RuntimeError(f"the tree has no {network}")
        try:
            self.network: Any = getattr(hn, network)(**settings)
        except TypeError as error:
            raise RuntimeError(f"the tree cannot make it: {error}") from error
        shapes = {name: tensor.shape for name, tensor in self.network.state_dict().items()}
        if shapes != {name: tensor.shape for name, tensor in case["parameters"].items()}:
            raise RuntimeError("the tree's network has other parameters")
        self.network.load_state_dict(case["parameters"])
        self.x: Any = case["x"].requires_grad_()
        self.cotangent: Any = case["cotangent"]

    def results(self, quantity: str, steps: int, file: str) -> None:
        """Write what a run computes to a file."""
        output, state, gradients = self._run(quantity, steps)()
        states = [state] if isinstance(state, torch.Tensor) else [*state]
        of_x, *others = gradients or (None,)
        names = [name for name, _ in self.network.named_parameters()]
        results = {"output": output, "state": states, "of_x": of_x, "gradients": dict(zip(names, others, strict=False))}
        torch.save(results, file)

    def time(self, quantity: str, steps: int, calls: int) -> float:
        """The seconds of one run, measured over a number of calls."""
        run = self._run(quantity, steps)
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls

    def _run(self, quantity: str, steps: int) -> Callable[[], tuple[Any, Any, Sequence[torch.Tensor]]]:
        """A function that does once what is timed: a forward pass, a training step, or some steps of generation."""
        parameters = [self.x, *self.network.parameters()]

        def forward() -> tuple[Any, Any, Sequence[torch.Tensor]]:
            with torch.no_grad():
                output, state = self.network(self.x)
                for _ in range(steps - 1):
                    output, state = self.network(self.x, state)
            return output, state, ()

        def training() -> tuple[Any, Any, Sequence[torch.Tensor]]:
            output, state = self.network(self.x)
            gradients = torch.autograd.grad(output, parameters, self.cotangent)
            return output.detach(), _detached(state), gradients

        return training if quantity == "training" else forward


def _detached(state: Any) -> Any:
    return state.detach() if isinstance(state, torch.Tensor) else [tensor.detach() for tensor in state]


def main() -> None:
    """Answer commands until the input ends. The first answer is where the package was imported from."""
    torch.set_num_threads(int(sys.argv[1]))
    worker = Worker()
    print(json.dumps({"answer": hn.__file__}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"answer": getattr(worker, command.pop("do"))(**command)}
        except (RuntimeError, TypeError, ValueError) as error:
            answer = {"error": str(error).strip().partition("\n")[0] or type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
