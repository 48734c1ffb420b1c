"""One network at one size: compare every implementation with the reference, then measure those that agree with it."""

from contextlib import nullcontext
from functools import cached_property, partial

import torch

from hypernetworks.bench.case import Case, make_case
from hypernetworks.bench.implementation import GENERATED, Implementation
from hypernetworks.bench.implementations import MAKERS, available_implementations, is_ours, is_torch
from hypernetworks.bench.measurements import Group, Measurement
from hypernetworks.bench.memory import peak_memory
from hypernetworks.bench.parity import Verdict, check
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.bench.timing import occupied_core, time_in_turn
from hypernetworks.experiments.networks import NetworkName

Values = dict[str, list[float]]


class NetworkBenchmark:
    """The implementations of one network at one size. They are made when first needed.

    Args:
        network: its name in `FAMILIES`.
        size: the size.
        repeats: the number of rounds.
        busy: time our paths and torch's networks a second time while another process keeps one core busy.
        with_compiled: include the compiled path.
    """

    def __init__(self, network: NetworkName, size: Size, *, repeats: int, busy: bool, with_compiled: bool) -> None:
        self.network: NetworkName = network
        self.size = size
        self.repeats: int = repeats
        self.busy: bool = busy
        self.with_compiled: bool = with_compiled
        self._made: dict[str, Implementation] = {}
        self._verdicts: dict[Quantity, dict[str, Verdict]] = {}

    @cached_property
    def _case(self) -> Case:
        return make_case(self.network, self.size)

    def measure(self, quantity: Quantity) -> Group:
        """Measure a quantity for every implementation."""
        busy: Values = {}
        if quantity == "memory":
            # the memory of a training step is measured only for implementations whose training step is correct
            verdicts, values = self._memory(self._check("training"))
        else:
            verdicts = self._check(quantity)
            runs = {name: partial(self._made[name].run, quantity) for name in _passed(verdicts)}
            steps = GENERATED if quantity == "generation" else 1
            values = time_in_turn(runs, self.repeats, steps)
            with occupied_core() if self.busy else nullcontext():
                chosen = {name: run for name, run in runs.items() if is_ours(name) or is_torch(name)}
                busy = time_in_turn(chosen, self.repeats, steps) if self.busy else {}
        return Group(
            [
                Measurement(
                    quantity=quantity,
                    size=self.size,
                    network=self.network,
                    implementation=name,
                    values=tuple(values.get(name, ())),
                    busy=tuple(busy.get(name, ())),
                    difference=verdicts[name].difference,
                    refusal=verdicts[name].refusal,
                    flops=self._made[name].flops.get(quantity),
                )
                for name in available_implementations(self._case, quantity, self.with_compiled)
            ]
        )

    def _check(self, quantity: Quantity) -> dict[str, Verdict]:
        """The verdict on every implementation of a quantity, computed once."""
        if quantity not in self._verdicts:
            names = available_implementations(self._case, quantity, self.with_compiled)
            self._made |= {name: MAKERS[name](self._case) for name in names if name not in self._made}
            implementations = {name: self._made[name] for name in names}
            if self.with_compiled:
                torch.compiler.reset()  # torch recompiles one step only for a limited number of networks and sizes
            self._verdicts[quantity] = check(self._case, implementations, quantity)
        return self._verdicts[quantity]

    def _memory(self, verdicts: dict[str, Verdict]) -> tuple[dict[str, Verdict], Values]:
        """The bytes of each implementation that passed. If measuring fails, the verdict gives the reason."""
        values: Values = {}
        verdicts = dict(verdicts)
        names = available_implementations(self._case, "memory", self.with_compiled)
        for name in [name for name in _passed(verdicts) if name in names]:
            try:
                values[name] = [float(peak_memory(self.network, name, self.size))]
            except RuntimeError as error:
                verdicts[name] = Verdict(refusal=str(error))
        return verdicts, values


def _passed(verdicts: dict[str, Verdict]) -> list[str]:
    return [name for name, verdict in verdicts.items() if verdict.refusal is None]
