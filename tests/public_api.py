"""The public names with their signatures, read from the sources: they do not depend on the versions of Python and torch.

The names are those in `__all__` and in the tables of docs/api.md, the members of a class those that its page there shows. After
an intended change, write them again:  python -m tests.public_api
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
WRITTEN = Path(__file__).with_suffix(".txt")
PACKAGES = (
    "hypernetworks",
    *(f"hypernetworks.{name}" for name in ("analysis", "interop", "jax", "strokes", "text", "vision")),
)

_PLAIN = (int, float, str, tuple)
"""Types of defaults whose value is shown where the source names a constant."""
_PROPERTIES = ("property", "functools.cached_property", "cached_property")
_KINDS = ("classmethod", "staticmethod", *_PROPERTIES)


def listing(package: str) -> str:
    """The public names of a package, one block each."""
    public = {f"{package}.{name}" for name in import_module(package).__all__ if name != "__version__"}
    public |= {name for name in _in_reference() if _package(name) == package}
    return "\n".join(line for name in sorted(public) for line in _lines(name, _thing(name)))


def written() -> dict[str, str]:
    """What the file has for each package."""
    return dict(zip(PACKAGES, WRITTEN.read_text(encoding="utf-8").strip().split("\n\n"), strict=True))


def _in_reference() -> list[str]:
    """The names in the tables of the reference, in full."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\.\. autosummary::\n(?:   :.*\n)*\n((?:   \S+\n)+)", page, re.MULTILINE)
    return [f"hypernetworks.{name}" for table in tables for name in table.split()]


def _package(name: str) -> str:
    """The package of a name, for one in a module the package around it."""
    return next(package for package in reversed(PACKAGES) if name.startswith(f"{package}."))


def _thing(name: str) -> Any:
    module, _, own = name.rpartition(".")
    return getattr(import_module(module), own)


@cache
def _reference() -> ModuleType:
    """The extension that makes the reference: it knows which members a page shows."""
    spec = spec_from_file_location("reference", ROOT / "docs" / "_extensions" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lines(name: str, thing: Any) -> Iterator[str]:
    if isinstance(thing, ModuleType):
        yield f"module {name}"
    elif inspect.isclass(thing):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base.__module__.startswith("hypernetworks"))
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in _members(thing))
    elif inspect.isfunction(thing):
        function = inspect.unwrap(thing)
        yield from (f"def {name}{_signature(node, function)}" for node in _statements(function))
    else:
        yield f"{name}: {type(thing).__name__}"


def _members(kind: type) -> Iterator[str]:
    """The constructor, or the fields of a record, and the members that the reference shows.

    Each is taken from the first of the class and its bases that defines it.
    """
    shown = _reference().members_of(kind)
    wanted = {"__init__", *(shown or "").split(", ")}
    is_record = is_dataclass(kind) or issubclass(kind, tuple)
    seen: set[str] = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("hypernetworks"):
            continue
        own = [(name, node) for made in _statements(base) for node in made.body if (name := _name(node)) not in seen]
        seen |= {name for name, _ in own}
        for name, node in own:
            is_public = not name.startswith("_") and (shown == "" or (is_record and isinstance(node, ast.AnnAssign)))
            if name in wanted or is_public:
                yield _member(name, node, vars(base).get(name))


def _name(node: ast.stmt) -> str:
    """The name that a statement of a class defines, or an underscore."""
    match node:
        case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return "_"


def _member(name: str, node: Any, thing: Any) -> str:
    if isinstance(node, ast.AnnAssign):
        default = "" if node.value is None else f" = {_default(node.value, thing)}"
        return f"{name}: {ast.unparse(node.annotation)}{default}"
    words = [ast.unparse(decorator) for decorator in node.decorator_list]
    kind = next((word for word in words if word in _KINDS or word.endswith(".setter")), "def")
    function = getattr(thing, "__func__", thing)  # of a class method
    if kind in _PROPERTIES:
        return f"property {name} -> {_text(node.returns)}"
    return f"{kind} {name}{_signature(node, inspect.unwrap(function) if inspect.isfunction(function) else None)}"


def _signature(node: Any, function: Any) -> str:
    """The arguments as they are written, a constant of the source as its value."""
    taken = node.args
    parameters = inspect.signature(function).parameters if function else {}
    arguments = [*taken.posonlyargs, *taken.args]
    defaults = [None] * (len(arguments) - len(taken.defaults)) + taken.defaults
    shown = [_argument(*pair, parameters) for pair in zip(arguments, defaults, strict=True)]
    if taken.posonlyargs:
        shown.insert(len(taken.posonlyargs), "/")
    if taken.vararg or taken.kwonlyargs:
        shown.append(f"*{_argument(taken.vararg, None, {})}" if taken.vararg else "*")
    shown += [_argument(*pair, parameters) for pair in zip(taken.kwonlyargs, taken.kw_defaults, strict=True)]
    if taken.kwarg:
        shown.append(f"**{_argument(taken.kwarg, None, {})}")
    return f"({', '.join(shown)})" + (f" -> {_text(node.returns)}" if node.returns else "")


def _argument(argument: ast.arg, default: ast.expr | None, parameters: Any) -> str:
    shown = argument.arg + (f": {_text(argument.annotation)}" if argument.annotation else "")
    if default is None:
        return shown
    value = parameters[argument.arg].default if argument.arg in parameters else None
    return f"{shown} = {_default(default, value)}"


def _default(node: ast.expr, value: Any) -> str:
    return repr(value) if isinstance(node, ast.Name) and isinstance(value, _PLAIN) else ast.unparse(node)


def _text(node: ast.expr | None) -> str:
    """A type as it is written, without the quotes of one that is defined later."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node) if node else ""


def _statements(thing: Any) -> list[Any]:
    """The statements of its module that define it. A function with overloads has several: those are its signatures."""
    tree = ast.parse(Path(inspect.getsourcefile(thing) or "").read_text(encoding="utf-8"))
    found = [node for node in tree.body if getattr(node, "name", None) == thing.__name__]
    return [node for node in found if any("overload" in ast.unparse(d) for d in node.decorator_list)] or found


if __name__ == "__main__":
    WRITTEN.write_text("\n\n".join(map(listing, PACKAGES)) + "\n", encoding="utf-8")
