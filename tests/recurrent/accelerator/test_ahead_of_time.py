"""Every kernel compiled for devices that are not here: registers and shared memory suffice."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hypernetworks.recurrent.accelerator.operators import loop_of, room
from hypernetworks.recurrent.accelerator.shape import LayerShape

SHARED = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that one program may have, by compute capability."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
TYPES = dict(zip(DTYPES, ("*fp32", "*bf16", "*fp16"), strict=True)) | {torch.int64: "*i64"}
SIZES = {
    "small": (32, 256, 64, 16),
    "middle": (64, 512, 128, 16),
    "ptb": (128, 1000, 128, 16),
    "long": (16, 768, 128, 16),
    "odd": (17, 33, 33, 5),
    "plain": (32, 256, 0, 0),
    "wide": (64, 2048, 0, 0),
    "gru small": (32, 256, 0, 0),
    "gru ptb": (128, 1000, 0, 0),
    "gru odd": (17, 33, 0, 0),
    "gru wide": (64, 2048, 0, 0),
    "scan": (32, 128, 0, 0),
    "gru scan": (32, 128, 0, 0),
    "hyper scan": (32, 64, 64, 16),
}
"""B, H, K and Z; the cell is a GRU where the name says so, else an LSTM; a loop within a kernel is called a scan."""
LONG = os.environ.get("HYPERNETWORKS_LONG") == "1"
QUICK = [
    ("small", torch.float32, 90),
    ("middle", torch.bfloat16, 80),
    ("plain", torch.float32, 80),
    ("gru small", torch.float32, 90),
    ("scan", torch.float32, 90),
    ("gru scan", torch.float32, 80),
    ("hyper scan", torch.bfloat16, 80),
]
ALL = [(name, dtype, capability) for name in SIZES for dtype in DTYPES for capability in SHARED]


class Compiler:
    """Stands in for `launch`: compiles what would be launched, once each."""

    def __init__(self, capability: int) -> None:
        self.capability = capability
        self.compiled: dict[tuple, Any] = {}

    def __call__(
        self, kernel: Any, grid: tuple, arguments: dict, *, num_warps: int, num_stages: int = 1, pdl: bool = False
    ) -> None:
        signature, constants, attributes = {}, {}, {}
        for k, parameter in enumerate(kernel.params):
            value = arguments[parameter.name]
            if parameter.is_constexpr or value is None:
                signature[parameter.name], constants[(k,)] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[parameter.name], attributes[(k,)] = TYPES[value.dtype], [["tt.divisibility", 16]]
            else:
                signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
        key = (kernel.__name__, tuple(signature.items()), tuple(constants.items()), num_warps)
        if key not in self.compiled:
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
            options = {"num_warps": num_warps, "num_stages": num_stages, "launch_pdl": pdl}
            self.compiled[key] = triton.compile(source, target=GPUTarget("cuda", self.capability, 32), options=options)


def resources(machine_code: bytes, folder: Path) -> dict[str, int]:
    """Registers, stack and local memory as cuobjdump reports them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    file = folder / "kernel.cubin"
    file.write_bytes(machine_code)
    report = subprocess.run([tool, "--dump-resource-usage", file], capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", report)}


def spilled(kernel: Any, capability: int, folder: Path) -> int:
    """Bytes of registers that go to memory. A stack may serve something else, so ptxas is asked."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    file = folder / "kernel.ptx"
    file.write_text(kernel.asm["ptx"])
    target = {80: "sm_80", 90: "sm_90a"}[capability]
    command = [tool, "-v", f"-arch={target}", file, "-o", folder / "kernel.o"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return sum(int(number) for number in re.findall(r"(\d+) bytes spill stores", report))


def compiled(
    name: str, dtype: torch.dtype, capability: int, norm: bool = True, masked: bool = False
) -> Iterator[tuple[str, Any]]:
    B, H, K, Z = SIZES[name]
    compiler = Compiler(capability)
    shape = LayerShape(
        name="gru" if name.startswith("gru") else "lstm",
        device=torch.device("cpu"),
        dtype=dtype,
        batch_sizes=(B,),
        reverse=False,
        input=H,
        hidden=H,
        hyper=K,
        embedding=Z,
        bias_h=True,
        norm=norm,
        masked=masked,
        save=True,
        eps=1e-5,
        precision="tf32x3" if dtype == torch.float32 else "tf32",
        pdl=capability >= 90,
    )
    loop = loop_of(shape, compiler, scan="scan" in name)
    tensors = room(loop.inputs() | loop.made() | loop.scratch(), shape.device)
    loop.forward(tensors)
    loop.backward(tensors)
    given = {"x": torch.empty(B, H, dtype=dtype), "weight_x": torch.empty(loop.gates * H, H, dtype=dtype)}
    given["hyper_weight_x"] = torch.empty(4 * K, 2 * H, dtype=dtype)
    loop.gradients(tensors, given, False, True)
    for key, kernel in compiler.compiled.items():
        yield key[0], kernel


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "dtype", "capability"), ALL if LONG else QUICK)
def test_kernels_compile_without_spills(name: str, dtype: torch.dtype, capability: int, tmp_path: Path) -> None:
    names = set()
    for kernel_name, kernel in compiled(name, dtype, capability):
        names.add(kernel_name)
        used = resources(kernel.asm["cubin"], tmp_path)
        assert used["LOCAL"] == 0, (kernel_name, used)
        # ptxas may choose to keep a register or two in memory far below the limit of 255, for more programs at a time
        assert used["STACK"] == 0 or spilled(kernel, capability, tmp_path) <= 8, (kernel_name, used)
        assert kernel.metadata.shared <= SHARED[capability], kernel_name
    family = "gru" if name.startswith("gru") else "hyper" if SIZES[name][2] else "lstm"
    if "scan" in name:
        expected = {f"{family}_scan_forward", f"{family}_scan_backward", "norm_gradients"}
    else:
        row = "gru" if family == "gru" else "cell"
        expected = {f"{row}_forward", f"{row}_backward", "product_forward", "product_backward", "norm_gradients"}
    if family == "hyper":
        expected.add("scale_gradients")
        if "scan" not in name:
            expected |= {"hyper_forward", "scales_forward", "scales_backward", "hyper_backward"}
    assert names == expected


PLAIN = {
    "plain": {"product_forward", "cell_forward", "cell_backward", "product_backward"},
    "gru small": {"product_forward", "gru_forward", "gru_backward", "product_backward"},
    "scan": {"lstm_scan_forward", "lstm_scan_backward"},
    "gru scan": {"gru_scan_forward", "gru_scan_backward"},
}


@pytest.mark.parametrize("name", list(PLAIN) if LONG else ["plain", "gru small"])
def test_a_plain_cell_with_dropout_compiles_without_the_norm(name: str) -> None:
    assert {kernel for kernel, _ in compiled(name, torch.float32, 90, norm=False, masked=True)} == PLAIN[name]
