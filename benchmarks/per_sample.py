"""Weights per sample compared with the same written by hand, and the overhead of one weight set, on one thread.

Training steps, forward and backward:

    LoRA            rank 4 on q and v of a transformer: q = x W_qᵀ + (x A_nᵀ) B_nᵀ
    packed LoRA     the same on the packed matrix of q, k and v
    row scales      of all convolutions of a ResNet-18: y = d_n ⊙ (W * x)
    linear heads    W_n = reshape(H c_n + b_H) of an MLP: y = H (c_n ⊗ x_n) + reshape(b_H) x_n
    full kernels    the second kernel of the paper's MNIST network: a grouped convolution; and a loop over the samples

Each pair is first compared in its outputs and gradients. Then both run in turn; times are minima. Peak memory is that of a
fresh process with one of the two, above what the process had before the step.

Overhead is the time of net(x, condition=c) less that of target(x), in evaluation mode and without gradients, minima of calls in
turn. It includes the time of the generator. The targets are narrow, so that little of the time is arithmetic.

python benchmarks/per_sample.py [CASE ...]
"""

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hypernetworks as hn

CONDITION, SECONDS = 8, 4.0
Forward = Callable[[], Tensor]


class Attention(nn.Module):
    """Self-attention with separate or packed matrices of q, k and v."""

    def __init__(self, d: int, heads: int, packed: bool) -> None:
        super().__init__()
        self.heads, self.packed = heads, packed
        if packed:
            self.qkv = nn.Linear(d, 3 * d)
        else:
            self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.o = nn.Linear(d, d)

    def forward(self, x: Tensor, low: dict[str, tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """x (B, T, d). `low` has A and B of each matrix that has an update, for the version by hand."""

        def project(name: str) -> Tensor:
            y = getattr(self, name)(x)
            if low is None or name not in low:
                return y
            A, B = low[name]
            # y_n = W x_n + B_n (A_n x_n)
            return torch.baddbmm(y, x @ A.mT, B.mT)

        parts = project("qkv").chunk(3, -1) if self.packed else (project("q"), project("k"), project("v"))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and an MLP, each after a norm."""

    def __init__(self, d: int, heads: int, packed: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(d, heads, packed)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x: Tensor, low: dict[str, tuple[Tensor, Tensor]] | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), low)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Blocks."""

    def __init__(self, d: int, layers: int, packed: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(d, d // 64, packed) for _ in range(layers))

    def forward(self, x: Tensor, low: list[dict[str, tuple[Tensor, Tensor]]] | None = None) -> Tensor:
        for k, block in enumerate(self.blocks):
            x = block(x, None if low is None else low[k])
        return x


def lora(batch: int, time_steps: int, d: int, layers: int, packed: bool = False) -> tuple[nn.Module, Forward, Forward]:
    """A frozen transformer with a generated update of q and v, or of the packed matrix."""
    target = Transformer(d, layers, packed).requires_grad_(False)
    chosen = ("qkv",) if packed else ("q", "v")
    net = hn.HyperNetwork(
        target,
        hn.LowRankGenerator(CONDITION, rank=4),
        lambda name, module, own: own == "weight" and name.split(".")[-1] in chosen,
    )
    with torch.no_grad():
        for heads in net.generator.heads:
            heads[0].weight.normal_(std=0.02)
    x, c = torch.randn(batch, time_steps, d), torch.randn(batch, CONDITION)

    def by_hand() -> Tensor:
        h = net.generator.trunk(c)
        low: list[dict[str, tuple[Tensor, Tensor]]] = [{} for _ in range(layers)]
        for name, (up, down) in zip(net.generator.names, net.generator.heads, strict=True):
            layer, matrix = int(name.split(".")[1]), name.split(".")[3]
            low[layer][matrix] = down(h).unflatten(-1, (4, d)), up(h).unflatten(-1, (-1, 4))
        return target(x, low)

    return net, lambda: net(x, condition=c), by_hand


class Residual(nn.Module):
    """The block of a ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = None
        if stride > 1 or inputs != outputs:
            self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, d: Callable[[nn.Conv2d, Tensor], Tensor] = lambda conv, x: conv(x)) -> Tensor:
        y = F.relu(self.bn1(d(self.conv1, x)))
        y = self.bn2(d(self.conv2, y))
        return F.relu(y + (x if self.short is None else self.bn3(d(self.short, x))))


class ResNet18(nn.Module):
    """A ResNet-18, as torchvision has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
        self.blocks = nn.ModuleList(Residual(*width) for width in [*widths, (512, 512, 1)])
        self.head = nn.Linear(512, 1000)

    def forward(self, x: Tensor, d: Callable[[nn.Conv2d, Tensor], Tensor] = lambda conv, x: conv(x)) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn(d(self.conv, x))), 3, 2, 1)
        for block in self.blocks:
            x = block(x, d)
        return self.head(x.mean((2, 3)))


def row_scales(batch: int, size: int) -> tuple[nn.Module, Forward, Forward]:
    """A ResNet-18 with generated scales of the rows of all kernels."""
    target = ResNet18()
    net = hn.HyperNetwork(target, hn.RowScaleGenerator(CONDITION), nn.Conv2d)
    with torch.no_grad():
        net.generator.head.weight.normal_(std=0.02)
    x, c = torch.randn(batch, 3, size, size), torch.randn(batch, CONDITION)
    convolutions = dict(target.named_modules())

    def by_hand() -> Tensor:
        parts = net.generator.head(net.generator.trunk(c)).split(net.generator.rows, -1)
        own = {convolutions[name.rpartition(".")[0]]: d for name, d in zip(net.generator.names, parts, strict=True)}
        return target(x, lambda conv, x: conv(x) * own[conv][:, :, None, None])

    return net, lambda: net(x, condition=c), by_hand


def linear_heads(batch: int, d: int, layers: int) -> tuple[nn.Module, Forward, Forward]:
    """An MLP with a linear head for each matrix."""
    target = nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(d, d), nn.ReLU())))
    net = hn.HyperNetwork(target, hn.FullGenerator(CONDITION, hidden=(), init="hyperfan-in"))
    x, c = torch.randn(batch, d), torch.randn(batch, CONDITION)

    def by_hand() -> Tensor:
        y, head = x, net.generator.head
        rows = zip(head.weight.split(net.generator.sizes), head.bias.split(net.generator.sizes), strict=True)
        for (H, b), of_vector in zip(rows, rows, strict=True):
            outer = (y[:, :, None] * c[:, None]).flatten(1)
            # y_n = H (y_n ⊗ c_n) + reshape(b_H) y_n + b_n
            y = F.relu(F.linear(outer, H.view(d, -1)) + F.linear(y, b.view(d, d)) + F.linear(c, *of_vector))
        return y

    return net, lambda: net(x, condition=c), by_hand


def mnist_net() -> nn.Sequential:
    """Convolution 7×7×16, pool, convolution 7×7×16, pool, dense."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(7 * 7 * 16, 10)),
    )


def full_kernels(batch: int, loop: bool = False) -> tuple[nn.Module, Forward, Forward]:
    """A generated kernel per sample, against a grouped convolution or a loop over the samples."""
    net = hn.HyperNetwork(mnist_net(), hn.FullGenerator(CONDITION, init="hyperfan-in"), "3.weight")
    x, c = torch.randn(batch, 1, 28, 28), torch.randn(batch, CONDITION)

    def by_hand() -> Tensor:
        y = net.target[:3](x)
        W = net.generate(c)["3.weight"].flatten(0, 1)
        y = F.conv2d(y.flatten(0, 1)[None], W, padding=3, groups=batch).view(batch, 16, 14, 14)
        return net.target[4:](y + net.target[3].bias[:, None, None])

    def in_a_loop() -> Tensor:
        return torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(batch)])

    return net, lambda: net(x, condition=c), in_a_loop if loop else by_hand


class EncoderBlock(nn.Module):
    """A block of torchvision's ViT, with the same modules."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.ln_1, self.self_attention = nn.LayerNorm(d), nn.MultiheadAttention(d, 2, batch_first=True)
        self.dropout, self.ln_2 = nn.Dropout(0.0), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * d, d), nn.Dropout(0.0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.dropout(self.self_attention(y, y, y, need_weights=False)[0])
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    """The structure of torchvision's ViT-B: 152 modules with 152 parameters."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.conv_proj, self.class_token = nn.Conv2d(3, d, 4, 4), nn.Parameter(torch.zeros(1, 1, d))
        encoder = {"dropout": nn.Dropout(0.0), "layers": nn.Sequential(*(EncoderBlock(d) for _ in range(12)))}
        self.encoder, self.pos_embedding = (
            nn.ModuleDict({**encoder, "ln": nn.LayerNorm(d)}),
            nn.Parameter(torch.randn(5, d)),
        )
        self.heads = nn.Sequential(nn.Linear(d, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((self.class_token.expand(len(x), 1, -1), self.conv_proj(x).flatten(2).mT), 1)
        for part in self.encoder.values():
            x = part(x + self.pos_embedding if isinstance(part, nn.Dropout) else x)
        return self.heads(x[:, 0])


def tiny_mlp() -> tuple[hn.HyperNetwork, Tensor]:
    """An MLP of 4 layers of 8, all weights generated."""
    target = nn.Sequential(*(part for _ in range(4) for part in (nn.Linear(8, 8), nn.ReLU())))
    return hn.HyperNetwork(target, hn.FullGenerator(CONDITION)), torch.randn(4, 8)


def vit(modules: str | None) -> tuple[hn.HyperNetwork, Tensor]:
    """The structure of ViT-B at a width of 8."""
    return hn.HyperNetwork(ViT(8), hn.FullGenerator(CONDITION), modules), torch.randn(1, 3, 8, 8)


OVERHEADS: dict[str, tuple[str, Callable[[], tuple[hn.HyperNetwork, Tensor]]]] = {
    "mlp": ("MLP of 4 layers of 8", tiny_mlp),
    "vit": ("structure of ViT-B, 152 modules, width 8, the head's weights", lambda: vit("heads.*")),
    "vit-all": ("structure of ViT-B, 152 modules, width 8, all weights", lambda: vit(None)),
}


CASES: dict[str, tuple[str, Callable[[], tuple[nn.Module, Forward, Forward]]]] = {
    "lora-16": ("LoRA on q and v, B 64, T 16, d 256, 4 layers", lambda: lora(64, 16, 256, 4)),
    "lora-128": ("LoRA on q and v, B 8, T 128, d 512, 2 layers", lambda: lora(8, 128, 512, 2)),
    "packed-16": ("LoRA on packed q, k, v, B 64, T 16, d 256, 4 layers", lambda: lora(64, 16, 256, 4, packed=True)),
    "packed-128": ("LoRA on packed q, k, v, B 8, T 128, d 512, 2 layers", lambda: lora(8, 128, 512, 2, packed=True)),
    "rows": ("row scales of a ResNet-18, B 8, 64×64", lambda: row_scales(8, 64)),
    "heads": ("linear heads of an MLP 4 × 256², B 256", lambda: linear_heads(256, 256, 4)),
    "kernels": ("full kernels of the MNIST network, B 64", lambda: full_kernels(64)),
    "loop": ("full kernels of the MNIST network, B 64, by hand: a loop", lambda: full_kernels(64, loop=True)),
}


def step(net: nn.Module, forward: Forward) -> Tensor:
    """One training step: forward and backward."""
    net.zero_grad()
    y = forward()
    y.square().mean().backward()
    return y


def compare(net: nn.Module, forward: Forward, by_hand: Forward) -> None:
    """Check that outputs and gradients are equal."""
    y, found = step(net, forward), [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    torch.testing.assert_close(y, step(net, by_hand), rtol=1e-3, atol=1e-4)
    for mine, parameter in zip(found, net.parameters(), strict=True):
        if mine is not None:
            scale = max(parameter.grad.abs().max().item(), 1e-12)
            torch.testing.assert_close(mine / scale, parameter.grad / scale, rtol=1e-2, atol=1e-2)


def times(*functions: Callable[[], object]) -> list[float]:
    """The minimum seconds of each, run in turn."""
    best, end = [float("inf")] * len(functions), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for k, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[k] = min(best[k], time.perf_counter() - start)
    return best


@torch.no_grad()
def overhead(net: hn.HyperNetwork, x: Tensor) -> tuple[float, float, float]:
    """The seconds that a call takes more than the target alone, those of the generator, and those of the target."""
    c = torch.randn(CONDITION)
    net.eval()
    call, target, generator = times(
        lambda: net(x, condition=c), lambda: net.target(x), lambda: net.generator(c, net._own())
    )
    return call - target, generator, target


def peak(case: str, which: str) -> float:
    """The peak memory in MiB of two steps in a process of their own."""
    command = [sys.executable, __file__, "--peak", which, case]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory() -> dict[str, int]:
    """Present and peak memory of this process, in KiB (Linux)."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) for line in lines if line[0].startswith("Vm")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join([*CASES, *OVERHEADS]))
    parser.add_argument("--peak", choices=["ours", "hand"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        torch.manual_seed(0)
        net, forward, by_hand = CASES[given.cases[0]][1]()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before = memory()["VmRSS"]
        for _ in range(2):
            step(net, forward if given.peak == "ours" else by_hand)
        print((memory()["VmHWM"] - before) / 1024)
        return
    print(f"{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}")
    for case in given.cases or [*CASES, *OVERHEADS]:
        torch.manual_seed(0)
        if case in OVERHEADS:
            more, generator, target = overhead(*OVERHEADS[case][1]())
            print(
                f"one weight set, {OVERHEADS[case][0]}: overhead {1e6 * more:.0f} µs a call, of which the generator "
                f"{1e6 * generator:.0f}; the target {1e6 * target:.0f}",
                flush=True,
            )
            continue
        net, forward, by_hand = CASES[case][1]()
        compare(net, forward, by_hand)
        ours, hand = times(partial(step, net, forward), partial(step, net, by_hand))
        space, space_by_hand = peak(case, "ours"), peak(case, "hand")
        print(
            f"{CASES[case][0]}: {1000 * ours:.1f} ms, by hand {1000 * hand:.1f} ms, ratio {ours / hand:.2f}; "
            f"peak memory {space:.0f} MiB, by hand {space_by_hand:.0f} MiB, ratio {space / space_by_hand:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
