"""The density of the next point against distributions of torch in float64, and its limits."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from hypernetworks.strokes.mixture import DOWN, END, LARGEST_CORRELATION, SMALLEST_DEVIATION, UP, Mixture

M = 4


def head_output(*leading: int, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(*leading, 6 * M + 3, dtype=torch.float64)


def covariances(mixture: Mixture) -> Tensor:
    x, y = mixture.log_deviations.exp().unbind(-1)
    xy = mixture.correlations * x * y
    return torch.stack([torch.stack([x**2, xy], -1), torch.stack([xy, y**2], -1)], -1)


def test_the_density_is_that_of_a_mixture_of_normal_distributions() -> None:
    mixture = Mixture.of(head_output(50))
    offsets, pen = torch.randn(50, 2, dtype=torch.float64), torch.randint(2, (50,))
    expected = MixtureSameFamily(
        Categorical(logits=mixture.log_weights), MultivariateNormal(mixture.means, covariances(mixture))
    ).log_prob(offsets)
    of_offsets, of_pen = mixture.nats(offsets, pen)
    torch.testing.assert_close(of_offsets, -expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(of_pen, -mixture.log_pen[torch.arange(50), pen])


def test_the_density_of_the_plane_and_of_the_pen_is_one() -> None:
    axis = torch.linspace(-12, 12, 401, dtype=torch.float64)
    plane = torch.cartesian_prod(axis, axis)
    mixture = Mixture.of(head_output(1, spread=0.5).expand(len(plane), -1))
    nats, _ = mixture.nats(plane, torch.zeros(len(plane), dtype=torch.int64))
    assert (torch.exp(-nats).sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-6)
    assert mixture.log_pen[0].exp().sum().item() == pytest.approx(1)


def test_an_ended_drawing_has_no_offset() -> None:
    values = head_output(3).requires_grad_()
    of_offsets, of_pen = Mixture.of(values).nats(torch.full((3, 2), 7.0, dtype=torch.float64), torch.full((3,), END))
    assert of_offsets.tolist() == [0, 0, 0]
    (of_offsets + of_pen).sum().backward()
    assert values.grad is not None
    assert values.grad[:, : 6 * M].abs().max() == 0  # nothing is learned about an offset that does not exist
    assert values.grad[:, 6 * M :].abs().min() > 0


def test_gradients() -> None:
    offsets, pen = torch.randn(5, 2, dtype=torch.float64), torch.tensor([DOWN, UP, END, DOWN, UP])

    def loss(values: Tensor) -> Tensor:
        return torch.stack(Mixture.of(values).nats(offsets, pen)).sum()

    assert torch.autograd.gradcheck(loss, head_output(5).requires_grad_())


@pytest.mark.parametrize("size", [1e3, -1e3, 1e30, -1e30])
def test_extreme_outputs_have_finite_losses_and_gradients(size: float) -> None:
    """In float32, whatever the head gives: a thin mixture right on the point or far from it, or one of no deviation."""
    values = torch.zeros(2, 6 * M + 3)
    values[:, 3 * M : 6 * M] = size  # deviations and correlations
    values[:, -3:] = torch.tensor([size, 0.0, 0.0]) / 1e30
    values.requires_grad_()
    nats = torch.stack(Mixture.of(values).nats(torch.tensor([[0.0, 0.0], [30.0, 1.0]]), torch.tensor([DOWN, UP])))
    nats.sum().backward()
    assert nats.isfinite().all()
    assert values.grad is not None
    assert values.grad.isfinite().all()


def test_deviations_and_correlations_are_bounded() -> None:
    mixture = Mixture.of(torch.full((1, 6 * M + 3), -100.0))
    assert mixture.log_deviations.exp().min().item() == pytest.approx(SMALLEST_DEVIATION)
    assert mixture.correlations.min().item() == pytest.approx(-LARGEST_CORRELATION)
    # so a point is at most so probable, even if a component sits on it
    nats, _ = mixture.nats(torch.full((1, 2), -100.0), torch.tensor([DOWN]))
    assert nats.item() >= math.log(2 * math.pi) + 2 * math.log(SMALLEST_DEVIATION) + 0.5 * math.log(1 - 0.99**2) - 1e-3


def test_drawn_points_have_the_moments_of_the_mixture() -> None:
    N = 200_000
    mixture = Mixture.of(head_output(1, spread=0.7).expand(N, -1))
    offsets, pen = mixture.draw(1.0, torch.rand(N, 2), torch.randn(N, 2, dtype=torch.float64))
    weights = mixture.log_weights[0].exp()
    mean = (weights[:, None] * mixture.means[0]).sum(0)
    away = mixture.means[0] - mean
    covariance = (weights[:, None, None] * (covariances(mixture)[0] + away[:, :, None] * away[:, None, :])).sum(0)
    torch.testing.assert_close(offsets.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(offsets.T), covariance, atol=0.05, rtol=0.02)
    shares = torch.bincount(pen, minlength=3) / N
    torch.testing.assert_close(shares.double(), mixture.log_pen[0].exp(), atol=0.005, rtol=0)


def test_temperature_zero_takes_the_most_probable_and_half_scales_the_variance() -> None:
    mixture = Mixture.of(head_output(9))
    offsets, pen = mixture.draw(0.0, torch.rand(9, 2), torch.randn(9, 2, dtype=torch.float64))
    best = mixture.log_weights.argmax(-1)
    torch.testing.assert_close(offsets, mixture.means[torch.arange(9), best])
    assert pen.tolist() == mixture.log_pen.argmax(-1).tolist()
    one = Mixture.of(head_output(1)[:, : 6 * 1 + 3])  # one component
    normal = torch.randn(1, 2, dtype=torch.float64)
    whole, _ = one.draw(1.0, torch.rand(1, 2), normal)
    half, _ = one.draw(0.5, torch.rand(1, 2), normal)
    torch.testing.assert_close((half - one.means[:, 0]) ** 2, 0.5 * (whole - one.means[:, 0]) ** 2)
