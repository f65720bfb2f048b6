"""Every call of the app into Android, looked up in the list of API 36: nothing was removed since API 29."""

from __future__ import annotations

import ast
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FRAMEWORK = ("android/",)
SKIPPED_BYTES = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    8: 2,
    9: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}
MAX_DEPTH = 12


@dataclass(frozen=True, order=True)
class Call:
    """One method that a class file refers to."""

    owner: str  # android/app/Activity
    name: str
    arity: int


def framework_calls(classes: Path) -> set[Call]:
    """Return the calls into Android of all class files in a folder."""
    found = set()
    for file in classes.rglob("*.class"):
        for owner, name, descriptor in _references(file.read_bytes()):
            if owner.startswith(FRAMEWORK):
                inside = descriptor[1 : descriptor.index(")")]
                arity = len(re.findall(r"\[*(?:L[^;]+;|[ZBCSIJFD])", inside))
                found.add(Call(owner, name, arity))
    return found


def _references(data: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield owner, name and descriptor of every method in a class file's constants."""
    count, at, index = struct.unpack_from(">H", data, 8)[0], 10, 1
    texts: dict[int, str] = {}
    pairs: dict[int, tuple[int, int]] = {}
    types: dict[int, int] = {}
    methods = []
    while index < count:
        tag = data[at]
        at += 1
        if tag == 1:
            (length,) = struct.unpack_from(">H", data, at)
            texts[index] = data[at + 2 : at + 2 + length].decode("utf-8", "surrogateescape")
            at += 2 + length
        elif tag == 7:
            (types[index],) = struct.unpack_from(">H", data, at)
            at += 2
        elif tag in (10, 11):
            methods.append(struct.unpack_from(">HH", data, at))
            at += 4
        else:
            if tag == 12:
                pairs[index] = struct.unpack_from(">HH", data, at)
            at += SKIPPED_BYTES[tag]
        index += 2 if tag in (5, 6) else 1
    for owner, pair in methods:
        name, descriptor = pairs[pair]
        yield texts[types[owner]], texts[name], texts[descriptor]


class ApiList:
    """The public API of one version of Android, read from type stubs."""

    def __init__(self, wheel: Path) -> None:
        """Take the wheel; packages are read when they are asked for."""
        self._wheel = zipfile.ZipFile(wheel)
        self._files = {
            name.removesuffix("/__init__.pyi").replace("-stubs", ""): name
            for name in self._wheel.namelist()
            if name.endswith("__init__.pyi")
        }
        self._trees: dict[str, list[ast.stmt]] = {}

    def has(self, call: Call, depth: int = 0) -> bool:
        """Say whether a class or one of its parents has a method of this name and number of parameters."""
        node = self._class(call.owner)
        if node is None or depth > MAX_DEPTH:
            return False
        name = "__init__" if call.name == "<init>" else call.name
        if any(
            _arity(f) == call.arity
            for f in node.body
            if isinstance(f, ast.FunctionDef) and f.name == name
        ):
            return True
        parents = (ast.unparse(base).split("[")[0] for base in node.bases)
        return any(
            self.has(Call(_owner(p, call.owner), call.name, call.arity), depth + 1) for p in parents
        )

    def _class(self, owner: str) -> ast.ClassDef | None:
        package, _, names = owner.rpartition("/")
        body = self._package(package)
        node = None
        for name in names.split("$"):
            node = next((n for n in body if isinstance(n, ast.ClassDef) and n.name == name), None)
            if node is None:
                return None
            body = node.body
        return node

    def _package(self, package: str) -> list[ast.stmt]:
        if package not in self._trees:
            file = self._files.get(package)
            self._trees[package] = ast.parse(self._wheel.read(file)).body if file else []
        return self._trees[package]


def _arity(function: ast.FunctionDef) -> int:
    is_static = any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)
    return len(function.args.posonlyargs) + len(function.args.args) - (0 if is_static else 1)


def _owner(parent: str, child: str) -> str:
    """Return a parent's binary name; one without a package is a neighbour."""
    parts = parent.split(".")
    if len(parts) == 1:
        return f"{child.rpartition('/')[0]}/{parent}"
    first = next((k for k, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    return "/".join([*parts[:first], "$".join(parts[first:])])
