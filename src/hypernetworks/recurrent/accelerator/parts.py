"""What several kernels are made of: waiting for the kernel before, loads and stores, and the layer norm of rows.

All arithmetic is float32, whatever the tensors store.
"""

# its types do not cover what kernels return
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def follow(PDL: tl.constexpr):
    """Wait until the previous kernel has ended and its results can be read. Let the next kernel start up to this point.

    With programmatic dependent launch a kernel may start before the previous one has ended. Without it, this does nothing.
    """
    if PDL:
        gdc_wait()
        gdc_launch_dependents()


@triton.jit
def tanh(a):
    """tanh a = 2 σ(2a) − 1: Triton's interpreter has no tanh."""
    return 2.0 * tl.sigmoid(2.0 * a) - 1.0


@triton.jit
def load(tensor, offset, ok):
    """Elements as float32, zero where not `ok`."""
    return tl.load(tensor + offset, mask=ok, other=0.0).to(tl.float32)


@triton.jit
def store(tensor, offset, value, ok):
    """Store in the tensor's own dtype."""
    tl.store(tensor + offset, value.to(tensor.dtype.element_ty), mask=ok)


@triton.jit
def rounded(a, tensor):
    """The numbers that will be read from the tensor after they have been stored there."""
    return a.to(tensor.dtype.element_ty).to(tl.float32)


@triton.jit
def load_mask(mask, offset, ok):
    """A dropout mask, 1 where there is none."""
    if mask is not None:
        drop = load(mask, offset, ok)
    else:
        drop = 1.0
    return drop


@triton.jit
def step_rows(places, t, r):
    """Where the rows of step t begin, which rows r of the batch it has, and these; row 0 stands for those that it lacks."""
    r_ok = r < tl.load(places + 5 * t + 1)
    return tl.load(places + 5 * t), r_ok, tl.where(r_ok, r, 0)


@triton.jit
def step_neighbours(places, t):
    """Of step t: before_row, before_rows, after_rows."""
    return tl.load(places + 5 * t + 2), tl.load(places + 5 * t + 3), tl.load(places + 5 * t + 4)


@triton.jit
def load_before(saved, initial, before_row, before_rows, b, j, ok, SIZE: tl.constexpr):
    """The values of the step before in row b: the initial ones where its sequence begins with this step."""
    before = (before_row + b).to(tl.int64)
    kept = load(saved, before * SIZE + j, ok & (b < before_rows))
    return kept + load(initial, b * SIZE + j, ok & (b >= before_rows))


@triton.jit
def row_sum(a):
    """The sum of a row (columns,), or of each row of a tile (rows, columns)."""
    total = tl.sum(a, len(a.shape) - 1)
    if len(a.shape) == 2:
        total = total[:, None]
    return total


@triton.jit
def normalise(a, ok, stats, place, writes, AT: tl.constexpr, SIZE: tl.constexpr, eps):
    """(a − mean)/σ of a row or of each row of a tile; mean and 1/σ go to stats, for the rows that `writes` selects.

    `place` is where stats has a row's first number.
    """
    mean = row_sum(a) * (1.0 / SIZE)
    centred = tl.where(ok, a - mean, 0.0)
    inverse = tl.rsqrt(row_sum(centred * centred) * (1.0 / SIZE) + eps)
    if stats is not None:
        tl.store(stats + place + AT, mean, mask=writes)
        tl.store(stats + place + AT + 1, inverse, mask=writes)
    return centred * inverse


@triton.jit
def normed_again(a, ok, stats, place, AT: tl.constexpr):
    """(a − mean)/σ of rows, and 1/σ, from the stats of the forward pass."""
    inverse = tl.load(stats + place + AT + 1)
    return tl.where(ok, (a - tl.load(stats + place + AT)) * inverse, 0.0), inverse


@triton.jit
def norm_backward(grad, normed, inverse, gain, SIZE: tl.constexpr):
    """The gradient of a from that of LN(a), for rows."""
    grad *= gain
    return inverse * (grad - row_sum(grad) * (1.0 / SIZE) - normed * (row_sum(grad * normed) * (1.0 / SIZE)))
