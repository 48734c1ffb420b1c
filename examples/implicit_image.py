"""Images as functions: a code generates the weights of a small network that maps a position to its grey value.

    grey(u, v) = f(u, v; g(e_n))             e_n: the code of image n;  one set of weights per sample

f is a network with two hidden layers. Its input is the position (u, v) with sines and cosines of it. g generates its weights
from 32 numbers, a different set for each image of a batch. Codes and g are trained together. Such an image has no fixed
resolution: it can be drawn at any size, and codes between two codes give new images.

python examples/implicit_image.py [picture.png]        requires MNIST (fetched on first use); the picture requires matplotlib
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.vision import load_images

IMAGES, BATCH, STEPS, POSITIONS = 64, 32, 1500, 256
WAVES = 4


def positions(side: int) -> Tensor:
    """The centres of side × side pixels in [−1, 1]², and sin and cos of π, 2π, 4π, … times them: (side², 2 + 4·WAVES)."""
    centre = (torch.arange(side) + 0.5) * 2 / side - 1
    uv = torch.cartesian_prod(centre, centre)
    waves = torch.cat([uv * torch.pi * 2**k for k in range(WAVES)], dim=1)
    return torch.cat((uv, waves.sin(), waves.cos()), dim=1)


def make_net() -> tuple[hn.HyperNetwork, hn.TaskEmbedding]:
    """The network from positions to grey values, with generated weights, and the codes."""
    target = nn.Sequential(
        *(nn.Linear(2 + 4 * WAVES, 32), nn.ReLU()), *(nn.Linear(32, 32), nn.ReLU()), *(nn.Linear(32, 1), nn.Sigmoid())
    )
    return hn.HyperNetwork(target, hn.FullGenerator(32, hidden=(64,))), hn.TaskEmbedding(IMAGES, size=32)


def draw(net: hn.HyperNetwork, codes: Tensor, side: int) -> Tensor:
    """Draw the images of codes (B, 32) at side × side pixels: (B, side, side)."""
    where = positions(side).expand(len(codes), -1, -1)
    return net(where, condition=codes).view(-1, side, side)


def main(picture: str | None = None) -> float:
    """The peak signal-to-noise ratio of all images, in dB."""
    torch.manual_seed(0)
    images = load_images("mnist").train.images[:IMAGES, 0].float() / 255
    net, codes = make_net()
    where, grey = positions(28), images.flatten(1)
    optimizer = torch.optim.Adam([*net.parameters(), *codes.parameters()], lr=2e-3)
    for _ in range(STEPS):
        n = torch.randint(IMAGES, (BATCH,))  # one code, and so one set of weights, per image of the batch
        at = torch.randint(len(where), (POSITIONS,))
        made = net(where[at].expand(BATCH, -1, -1), condition=codes(n))[..., 0]
        loss = F.mse_loss(made, grey[n][:, at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        again = draw(net, codes.weight, 28)
        psnr = -10 * F.mse_loss(again, images).log10().item()
        print(f"{IMAGES} images from codes of 32 numbers each: {psnr:.1f} dB")
        if picture:
            between = torch.lerp(codes.weight[0], codes.weight[1], torch.linspace(0, 1, 8).unsqueeze(1))
            save(picture, [images[:8], again[:8], draw(net, codes.weight[:8], 112), draw(net, between, 112)])
    return psnr


def save(picture: str, rows: list[Tensor]) -> None:
    """Save rows of images: given, from their codes, at four times the size, and between two codes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]))
    for line, row, title in zip(axes, rows, ("given", "from its code", "at 112×112", "between two"), strict=True):
        line[0].set_ylabel(title, fontsize=8)
        for place, image in zip(line, row, strict=True):
            place.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
            place.set(xticks=[], yticks=[])
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:2])
