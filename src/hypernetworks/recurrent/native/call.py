"""What a kernel is called with: a structure of sizes and pointers, as the kernel's own header declares it."""

import ctypes
import functools
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .kernels import SOURCES, BuildError, library

SUFFIX = {torch.float32: "float", torch.float64: "double"}
_C_TYPES = {
    "int64_t": ctypes.c_int64,
    "double": ctypes.c_double,
    "const int64_t*": ctypes.c_void_p,
    "const void*": ctypes.c_void_p,
    "void*": ctypes.c_void_p,
}


@functools.cache
def structure(name: str, header: str) -> type[ctypes.Structure]:
    """The structure `name` of a header, read from there, so that the two sides cannot differ."""
    source = re.sub(r"//.*", "", (SOURCES / header).read_text(encoding="utf-8"))
    body = re.search(rf"struct {name} {{(.*?)}};", source, re.DOTALL)
    assert body is not None
    fields = []
    for declaration in filter(None, (" ".join(part.split()) for part in body[1].split(";"))):
        parts = re.fullmatch(r"(.*?[ *])(\w+)((?:, \*?\w+)*)", declaration)
        assert parts is not None
        kind = _C_TYPES[parts[1].replace(" *", "*").strip()]
        fields += [(field, kind) for field in re.findall(r"\w+", parts[2] + parts[3])]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


class Kernel:
    """The kernels that take one structure: `kernel("lstm_forward", dtype, fields)`, tensors for pointers, None for null.

    A kernel is first asked how much memory it needs, and then called again with that much from torch.
    """

    def __init__(self, struct: str, header: str) -> None:
        self.struct: str = struct
        self.header: str = header

    def __call__(self, function: str, dtype: torch.dtype, fields: Mapping[str, Any]) -> None:
        """Run the function on the fields of the structure; those left out are 0 or null."""
        run, call = self.bind(function, dtype), self.fill(fields)
        workspace = torch.empty(run(ctypes.byref(call)), dtype=dtype, device="cpu")
        call.workspace = workspace.data_ptr()
        run(ctypes.byref(call))

    def fill(self, fields: Mapping[str, Any]) -> Any:
        """The structure with these fields."""
        call = structure(self.struct, self.header)()
        known = {field[0] for field in call._fields_}
        for name, value in fields.items():
            assert name in known, name
            setattr(call, name, value.data_ptr() if isinstance(value, Tensor) else value)
        return call

    @functools.cache  # noqa: B019  there are as many objects as operators
    def bind(self, function: str, dtype: torch.dtype) -> Any:
        """The function of the library, for this dtype."""
        kernels = library()
        if kernels is None:
            raise BuildError("there are no native kernels here: `hypernetworks doctor` says why")
        size = getattr(kernels, f"hn_{self.header.removesuffix('.h')}_size_{SUFFIX[dtype]}")
        size.restype, size.argtypes = ctypes.c_int64, ()
        assert size() == ctypes.sizeof(structure(self.struct, self.header))
        run = getattr(kernels, f"hn_{function}_{SUFFIX[dtype]}")
        run.restype, run.argtypes = ctypes.c_int64, (ctypes.c_void_p,)
        return run
