"""Images as functions: a code generates the weights of a small network of sines that maps a position to its grey value.

    grey(u, v) = f(u, v; g(e_n))             e_n: the code of image n;  one set of weights per image
    f: each hidden layer is sin(ω (W x + b))

f is a SIREN, as in Sitzmann et al., "Implicit neural representations with periodic activation functions", NeurIPS 2020.
g generates its weights from 32 numbers, a different set for each image of a batch. Codes and g are trained together. Such an
image has no fixed resolution: it can be drawn at any size.

python examples/implicit_image.py --seeds 5 --picture digits.png        requires MNIST (fetched on first use)
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from seeds import over_seeds
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.errors import UsageError
from hypernetworks.vision import load_images

CODE, WIDTH, OMEGA = 32, 48, 10.0


class Sine(nn.Module):
    """sin(ω x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Element by element."""
        return torch.sin(OMEGA * x)


def positions(side: int) -> Tensor:
    """The centres of side × side pixels in [−1, 1]²: (side², 2)."""
    centre = (torch.arange(side) + 0.5) * 2 / side - 1
    return torch.cartesian_prod(centre, centre)


def make_net(images: int) -> tuple[hn.HyperNetwork, hn.TaskEmbedding]:
    """The network from positions to grey values, with generated weights, and the codes of the images."""
    target = nn.Sequential(nn.Linear(2, WIDTH), Sine(), nn.Linear(WIDTH, WIDTH), Sine(), nn.Linear(WIDTH, 1))
    hn.siren_(target, OMEGA)  # where the weights of every image start
    return hn.HyperNetwork(target, hn.FullGenerator(CODE, hidden=(64,))), hn.TaskEmbedding(images, CODE)


def draw(net: hn.HyperNetwork, codes: Tensor, side: int) -> Tensor:
    """Draw the images of codes (B, CODE) at side × side pixels: (B, side, side)."""
    where = positions(side).expand(len(codes), -1, -1)
    return net(where, condition=codes)[..., 0].unflatten(1, (side, side))


def experiment(seed: int, steps: int, images: int, rate: float, picture: Path | None) -> dict[str, float]:
    """The peak signal-to-noise ratio in dB: of all images, the best and the worst, and of the means of 4 × 4 finer pixels."""
    given = load_images("mnist").train.images[:images, 0].float() / 255
    if len(given) < images:
        raise UsageError(f"images should be at most {len(given)}, got {images}")
    if picture and (images < 2 or picture.suffix not in (".pdf", ".png", ".svg")):
        raise UsageError(
            f"a picture needs two images and a name in .pdf, .png or .svg, got {images} and {str(picture)!r}"
        )
    torch.manual_seed(seed)
    net, codes = make_net(images)
    optimizer = torch.optim.Adam([*net.generator.parameters(), *codes.parameters()], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = F.mse_loss(draw(net, codes.weight, 28), given)  # one code, and so one set of weights, per image
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        again = draw(net, codes.weight, 28)
        error = (again - given).square().mean((1, 2))
        larger = draw(net, codes.weight, 112)
        if picture:
            between = torch.lerp(codes.weight[0], codes.weight[1], torch.linspace(0, 1, len(given[:8])).unsqueeze(1))
            save(picture, [given[:8], again[:8], larger[:8], draw(net, between, 112)])
    # PSNR = −10 log₁₀ of the mean square error
    finer = F.mse_loss(F.avg_pool2d(larger, 4), given)
    psnr = {"all": error.mean(), "best image": error.min(), "worst image": error.max(), "from finer pixels": finer}
    return {name: -10 * each.log10().item() for name, each in psnr.items()}


def save(picture: Path, rows: list[Tensor]) -> None:
    """Save rows of images: given, from their codes, at four times the size, and between two codes. Requires matplotlib."""
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
    over_seeds(experiment, steps=2000, images=16, rate=5e-4, picture=None)
