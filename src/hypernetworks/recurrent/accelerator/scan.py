"""Time loops within a kernel: one program computes all steps of some rows of the batch. For small hidden sizes.

A step of `loop.Loop` costs the start of several kernels, however small they are. Here a pass is one kernel. But each program
multiplies with all of W_h, which it reads from the cache at each step, so the time of a step grows with H².
"""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .gru import GRULoop
from .gru_scan import gru_scan_backward, gru_scan_forward
from .hyper_lstm import HyperLSTMLoop
from .hyper_scan import hyper_scan_backward, hyper_scan_forward
from .launch import blocks, power_of_two
from .loop import Loop, Room
from .lstm import NORM, LSTMLoop
from .lstm_scan import lstm_scan_backward, lstm_scan_forward
from .shape import LayerShape, steps_of

HYPER_NORM = tuple(f"hyper_{name}" for name in NORM)
BLOCK_M = 16
"""Rows of a program: the fewest that a product takes. More rows would leave more of the device idle."""


def is_small(shape: LayerShape) -> bool:
    """Whether the loop of a layer is within a kernel. The limits are those of the registers: above, some would go to memory.

    They have not been compared with single steps on a device.
    """
    if shape.hyper:
        return shape.hidden <= 64 and shape.hyper <= 64 and shape.embedding <= 16
    return shape.hidden <= 128


class Scan(Loop):
    """A loop whose passes are one kernel each."""

    one_launch = True

    def scratch(self) -> Room:
        """As for single steps; the products' share of the gradient of h0 comes in one part."""
        return super().scratch() | {"partial_h": ((1, self.shape.batch, self.shape.hidden), torch.float32)}

    def scan(self, kernel: Any, t: Mapping[str, Tensor | None], names: tuple[str, ...], **more: Any) -> None:
        """Launch a kernel for all rows of the batch. `names` are its tensors; a name that t lacks is None."""
        s = self.shape
        block = power_of_two(s.hidden, 16)
        arguments = {name: t.get(name) for name in names} | {
            "stats": t.get("saved_stats"),
            "places": _places(s),
            "steps": len(s.steps),
            "H": s.hidden,
            "BLOCK_M": BLOCK_M,
            "BLOCK_H": block,
            "BLOCK_K": min(block, 16 if s.dtype == torch.float32 else 32),  # exact products need registers for three
            "PRECISION": s.precision,
        }
        self._launch(
            kernel,
            (blocks(s.batch, BLOCK_M),),
            arguments | more,
            num_warps=8 if block > 64 or s.hyper else 4,
            num_stages=3,
        )


class LSTMScan(Scan, LSTMLoop):
    """The loops of an LSTM without a hyper cell, each in one kernel."""

    def forward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps forward."""
        t = self._views(tensors)
        names = ("wx", "weight_h", "h", "c", "mask", *NORM, "pre", "output", "saved_c")
        self.scan(lstm_scan_forward, t, names, batch=self.shape.batch, eps=self.shape.eps, SAVE=self.shape.save)

    def backward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps backward."""
        names = ("grad_output", "grad_h", "grad_c", "partial_h", "weight_h", "pre", "saved_c", "c0", "mask", *NORM)
        names += ("grad_wh", "grad_normed", "grad_cell_normed")
        self.scan(lstm_scan_backward, self._views(tensors), names)


class GRUScan(Scan, GRULoop):
    """The loops of a GRU, each in one kernel."""

    def forward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps forward."""
        t = self._views(tensors)
        names = ("wx", "weight_h", "bias_h", "h", "mask", "gain", "shift", "pre", "output")
        s, wh = self.shape, t["saved_wh"]
        self.scan(gru_scan_forward, t, names, wh=wh, batch=s.batch, eps=s.eps, SAVE=s.save)

    def backward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps backward."""
        t = self._views(tensors)
        names = ("grad_output", "grad_h", "partial_h", "weight_h", "bias_h", "pre", "output", "h0", "mask")
        names += ("gain", "shift", "grad_wx", "grad_wh", "grad_normed")
        self.scan(gru_scan_backward, t, names, wh=t["saved_wh"], batch=self.shape.batch)


class HyperLSTMScan(Scan, HyperLSTMLoop):
    """The loops of a HyperLSTM, each in one kernel."""

    def scratch(self) -> Room:
        """As for single steps, without the parts that its kernels exchange."""
        room = super().scratch()
        del room["partial_z"], room["partial_hyper_h"]
        return room

    def forward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps forward."""
        names = ("wx", "weight_h", "bias", "hyper_weight_h", "hyper_weight_hh", "P", "p", "D", *self.states, "mask")
        names += (
            *NORM,
            *HYPER_NORM,
            "pre",
            "hyper_pre",
            "output",
            "saved_c",
            "saved_hyper_h",
            "saved_hyper_c",
            "saved_z",
        )
        s = self.shape
        self._scan(hyper_scan_forward, tensors, names, batch=s.batch, eps=s.eps, SAVE=s.save)

    def backward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps backward."""
        names = ("grad_output", *(f"grad_{name}" for name in self.states), "partial_h", "recurrent", "wx", "weight_h")
        names += ("hyper_weight_h", "hyper_weight_hh", "P", "D", "pre", "hyper_pre", "saved_c", "c0", "saved_hyper_c")
        names += ("hyper_c0", "saved_z", "mask", *NORM, *HYPER_NORM, "grad_pre", "grad_wx", "grad_wh", "grad_z")
        names += ("grad_normed", "grad_cell_normed", "grad_hyper_normed", "grad_hyper_cell_normed")
        self._scan(hyper_scan_backward, tensors, names)

    def _scan(self, kernel: Any, tensors: Mapping[str, Tensor], names: tuple[str, ...], **more: Any) -> None:
        t, s = self._views(tensors), self.shape
        self.scan(
            kernel,
            t,
            names,
            wh=t["saved_wh"],
            hyper_stats=t.get("saved_hyper_stats"),
            K=s.hyper,
            Z=s.embedding,
            BLOCK_Q=self.tiles.hyper_block,
            BLOCK_Z=self.tiles.embedding_block,
            SHORT=s.short_precision,
            **more,
        )


def _places(shape: LayerShape) -> Tensor:
    """The `Step` of each step, (T, 5), on the device."""
    places = _copied(shape.batch_sizes, shape.reverse, shape.device)
    if places.is_cuda:
        places.record_stream(torch.cuda.current_stream())  # it may have been copied on another stream
    return places


@functools.lru_cache(maxsize=64)
def _copied(batch_sizes: tuple[int, ...], reverse: bool, device: torch.device) -> Tensor:
    return torch.tensor(steps_of(batch_sizes, reverse), device=device)
