"""The cost of a training step on many accelerators: a model, not a measurement. docs/beyond-one-machine.md explains it.

python benchmarks/cost_model.py        prints the table of that page

    compute   t_c = 3 · F · (B/P) · T / (u · peak)                     F FLOPs per character forward; backward costs 2 F
    memory    M   = 4 bytes · (4 N + a · H · (B/P) · T)                weights, gradients, two moments; a · H saved numbers
    exchange  V   = 2 · (P − 1)/P · 4 N bytes                          sent and received by each, ring all-reduce, float32
              t_x = V/w + 2 (P − 1) · l                                bandwidth w, latency l per hop
    step      max(t_c, t_x) ≤ t ≤ t_c + t_x                            exchange fully overlapped with the backward pass, or not
"""

import math
from dataclasses import dataclass

from hypernetworks.text.presets import PRESETS
from hypernetworks.text.sizes import count_parameters, flops_per_character

PRESET = PRESETS["paper-enwik8"]
MODEL, SYMBOLS = PRESET.model, 205
STREAMS_EACH, LENGTH = PRESET.batch_size, PRESET.length  # every accelerator has the preset's batch

PEAK = 300e12
"""FLOPs per second of one accelerator in bfloat16."""
USED = 0.1
"""The fraction that a recurrent network reaches: the products of a step are small, and steps are sequential."""
BANDWIDTH = 25e9
"""Bytes per second and direction of the slowest link in the ring: a 200 Gbit/s network."""
LATENCY = 5e-6
"""Seconds per hop."""
KEPT_PER_HIDDEN = 40
"""Numbers saved for the backward pass per character and hidden unit: 39.9 were counted on the reference path."""


@dataclass(frozen=True)
class Cost:
    """The cost of one step on each of P accelerators."""

    processes: int
    compute: float
    exchange: float
    bytes_sent: float
    memory: float

    @property
    def characters_per_second(self) -> tuple[float, float]:
        """The total rate, without overlap of the exchange and with full overlap."""
        read = self.processes * STREAMS_EACH * LENGTH
        return read / (self.compute + self.exchange), read / max(self.compute, self.exchange)


def cost(P: int) -> Cost:
    N, F = count_parameters(MODEL, SYMBOLS), flops_per_character(MODEL, SYMBOLS)
    characters = STREAMS_EACH * LENGTH
    # t_c = 3 F (B/P) T / (u peak)
    compute = 3 * F * characters / (USED * PEAK)
    # V = 2 (P − 1)/P · 4 N
    sent = 2 * (P - 1) / P * 4 * N
    # t_x = V/w + 2 (P − 1) l
    exchange = sent / BANDWIDTH + 2 * (P - 1) * LATENCY
    # M = 4 (4 N + a H (B/P) T)
    memory = 4 * (4 * N + KEPT_PER_HIDDEN * MODEL.hidden_size * characters)
    return Cost(P, compute, exchange, sent, memory)


def main() -> None:
    N, F = count_parameters(MODEL, SYMBOLS), flops_per_character(MODEL, SYMBOLS)
    print(
        f"{STREAMS_EACH} streams of {LENGTH} characters each; N {N:,} parameters, F {F:,} FLOPs a character forward\n"
    )
    print("| P | streams B | compute | bytes each way | exchange | memory | characters/s | of P times one |")
    print("|---|---|---|---|---|---|---|---|")
    alone = STREAMS_EACH * LENGTH / cost(1).compute
    for P in (2**k for k in range(3, 11)):
        one = cost(P)
        low, high = one.characters_per_second
        rates = f"{low / 1e6:.2f} to {high / 1e6:.2f} million"
        shares = " to ".join(f"{math.floor(100 * rate / (P * alone))}" for rate in (low, high))
        print(
            f"| {P} | {P * STREAMS_EACH:,} | {1e3 * one.compute:.0f} ms | {one.bytes_sent / 1e6:.0f} MB | "
            f"{1e3 * one.exchange:.1f} ms | {one.memory / 1e9:.1f} GB | {rates} | {shares} % |"
        )


if __name__ == "__main__":
    main()
