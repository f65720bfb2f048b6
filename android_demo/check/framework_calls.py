"""Calls that class files make, looked up in lists of what Android has.

Calls into `android.*` are compiled against API 29 and looked up in API 36, where nothing may be gone. Calls
into `java.*` are compiled against a JDK, which has more than Android, and looked up in API 29 with what they
return: a JDK's `FloatBuffer.clear()` returns a FloatBuffer, that of Android before 10 a Buffer, and a call is
found by both.
"""

from __future__ import annotations

import ast
import re
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from android_demo.check.signatures import (
    Declared,
    Member,
    TypeReader,
    binary_name,
    parents_of,
    read_parameters,
    split_call,
    split_outside,
)

FRAMEWORK = "android/"
JAVA = "java/"
DESUGARED = "java/lang/invoke/"  # lambdas and joined strings: the build replaces these calls
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
    returns: str = ""  # as class files have it; empty where nobody asks


def calls_into(
    packages: str, classes: Path, *, results: bool = False, but: Collection[str] = ()
) -> set[Call]:
    """Return the calls of class files into packages.

    Args:
        packages: how their names start.
        classes: the folder of the class files.
        results: whether calls with other results are other calls.
        but: files of Kotlin whose classes are left out.

    """
    found = set()
    for file in classes.rglob("*.class"):
        if file.stem.partition("$")[0].removesuffix("Kt") in but:
            continue
        for owner, name, descriptor in _references(file.read_bytes()):
            if owner.startswith(packages) and not owner.startswith(DESUGARED):
                inside = descriptor[1 : descriptor.index(")")]
                arity = len(re.findall(r"\[*(?:L[^;]+;|[ZBCSIJFD])", inside))
                returns = descriptor[descriptor.index(")") + 1 :] if results else ""
                found.add(Call(owner, name, arity, returns))
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


class SignatureList:
    """What a signature file declares."""

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        """Take declarations by name."""
        self._declared = {binary_name(name): one for name, one in declared.items()}

    def has(self, call: Call, depth: int = 0) -> bool:
        """Say whether a class or a parent has a method of this name, number of parameters and result."""
        one = self._declared.get(call.owner)
        if one is None or depth > MAX_DEPTH:
            return False
        if any(_declares(one, member, call) for member in one.members):
            return True
        if call.name == "<init>":
            return False
        if one.kind == "enum" and (call.name, call.arity) in (("values", 0), ("valueOf", 1)):
            return True
        extended, implemented = parents_of(one)
        parents = (binary_name(name.split("<")[0]) for name in (extended, *implemented))
        return any(self.has(replace(call, owner=parent), depth + 1) for parent in parents)


def _declares(one: Declared, member: Member, call: Call) -> bool:
    if member.kind not in ("ctor", "method"):
        return False
    head, inside, _ = split_call(member.text)
    name = "<init>" if member.kind == "ctor" else head.split()[-1]
    if name != call.name or len(split_outside(inside, ",")) != call.arity:
        return False
    return not call.returns or member.kind == "ctor" or call.returns == _result(one, head)


def _result(one: Declared, head: str) -> str:
    """Return what a method gives, as class files have it."""
    variables: dict[str, str] = {}
    read_parameters(one.rest, variables, set())
    _, rest = read_parameters(head, variables, set())
    return TypeReader(rest.strip(), variables).read()[1]


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
    given = function.args
    # Java's last parameter that takes any number is one array
    listed = len(given.posonlyargs) + len(given.args) + (given.vararg is not None)
    return listed - (0 if is_static else 1)


def _owner(parent: str, child: str) -> str:
    """Return a parent's binary name; one without a package is a neighbour."""
    parts = parent.split(".")
    if len(parts) == 1:
        return f"{child.rpartition('/')[0]}/{parent}"
    first = next((k for k, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    return "/".join([*parts[:first], "$".join(parts[first:])])
