"""Android's API as its signature file lists it (`api/current.txt`, format 2.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PRIMITIVES = {
    "boolean": "Z", "byte": "B", "char": "C", "short": "S", "int": "I", "long": "J",
    "float": "F", "double": "D", "void": "V",
}  # fmt: skip
MODIFIERS = {
    "public", "protected", "private", "static", "final", "abstract", "synchronized", "native",
    "default", "strictfp", "volatile", "transient", "deprecated", "sealed",
}  # fmt: skip
ANNOTATION = re.compile(r"@(?!interface\b)[\w.]+(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))?\s*")
JAVA_INTERFACES = (
    "Comparable",
    "CharSequence",
    "Runnable",
    "Iterable",
    "AutoCloseable",
    "Cloneable",
)
Variables = dict[str, str]  # type variables and what they erase to


@dataclass
class Member:
    """A constructor, method, field or enum constant, without its annotations."""

    kind: str  # ctor, method, field, enum_constant
    modifiers: set[str]
    text: str


@dataclass
class Declared:
    """A class, interface, enum or annotation."""

    kind: str  # class, interface, enum, @interface
    modifiers: set[str]
    package: str
    short: str  # Outer.Inner
    rest: str  # type parameters, extends, implements
    members: list[Member] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the full name, with dots."""
        return f"{self.package}.{self.short}"

    @property
    def is_interface(self) -> bool:
        """Say whether it is an interface; annotations are."""
        return self.kind in ("interface", "@interface")

    @property
    def outer_names(self) -> list[str]:
        """Return the full names of the classes around it, outermost first."""
        parts = self.short.split(".")
        return [f"{self.package}.{'.'.join(parts[:k])}" for k in range(1, len(parts))]


def read_signatures(path: Path) -> dict[str, Declared]:
    """Return all declarations by full name."""
    package = ""
    found: dict[str, Declared] = {}
    current: Declared | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("package "):
            package = line.split()[1]
        elif re.match(r"  [^ }]", line):
            modifiers, rest = split_modifiers(ANNOTATION.sub("", line.strip()))
            match = re.match(r"(class|interface|enum|@interface)\s+([\w.]+)", rest)
            assert match, line
            tail = rest[match.end() :].rstrip("{ ").strip()
            current = Declared(match[1], modifiers, package, match[2], tail)
            found[current.name] = current
        elif match := re.match(r"    (ctor|method|field|enum_constant) (.*)$", line):
            text = re.sub(r"; // .*$", ";", match[2]) if match[1] == "field" else match[2]
            modifiers, rest = split_modifiers(ANNOTATION.sub("", text).strip())
            assert current, line
            current.members.append(Member(match[1], modifiers, rest))
    return found


def split_modifiers(text: str) -> tuple[set[str], str]:
    """Return the modifiers that a declaration starts with, and the rest."""
    found: set[str] = set()
    while (match := re.match(r"([a-z]+)\s+", text)) and match[1] in MODIFIERS:
        found.add(match[1])
        text = text[match.end() :]
    return found, text


def binary_name(name: str) -> str:
    """Return a dotted name as class files have it: packages in lower case, classes not."""
    parts = name.split(".")
    for number, part in enumerate(parts):
        if part[:1].isupper():
            return "/".join([*(parts[:number] or ["java", "lang"]), "$".join(parts[number:])])
    return "/".join(parts)


def split_outside(text: str, separator: str) -> list[str]:
    """Split at separators that stand outside of angle brackets."""
    items, depth, item = [], 0, ""
    for c in text:
        depth += (c == "<") - (c == ">")
        if c == separator and depth == 0:
            items.append(item.strip())
            item = ""
        else:
            item += c
    return [i for i in [*items, item.strip()] if i]


class TypeReader:
    """Reads types from a text; each gives a generic signature and an erased descriptor."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        """Start at the text's beginning."""
        self.text, self.at, self.variables = text, 0, variables
        self.is_varargs = False

    def skip(self, pattern: str) -> str:
        """Skip what matches here and return it."""
        match = re.compile(pattern).match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match[0] if match else ""

    def read(self) -> tuple[str, str]:
        """Read one type."""
        self.skip(" *")
        name = self.skip(r"[\w$]+(\.(?!\.)[\w$]+)*")
        assert name, (self.text, self.at)
        if name in PRIMITIVES:
            signature = erased = PRIMITIVES[name]
        elif name in self.variables:
            signature, erased = f"T{name};", self.variables[name]
        else:
            signature, erased = self._class(name)
        dimensions = 0
        while bracket := self.skip(r"\[\]|\.\.\."):
            dimensions += 1
            self.is_varargs = self.is_varargs or bracket == "..."
        return "[" * dimensions + signature, "[" * dimensions + erased

    def _class(self, name: str) -> tuple[str, str]:
        signature = erased = "L" + binary_name(name)
        while True:
            if self.skip("<"):
                signature += "<" + self._argument()
                while self.skip(" *,"):
                    signature += self._argument()
                assert self.skip(" *>"), (self.text, self.at)
                signature += ">"
            inner = self.skip(r"\.(?!\.)\w+")
            if not inner:
                return signature + ";", erased + ";"
            signature += inner
            erased += "$" + inner[1:]

    def _argument(self) -> str:
        self.skip(" *")
        if not self.skip(r"\?"):
            return self.read()[0]
        self.skip(" *")
        if self.skip("extends "):
            return "+" + self.read()[0]
        if self.skip("super "):
            return "-" + self.read()[0]
        return "*"


def read_parameters(text: str, variables: Variables, interfaces: set[str]) -> tuple[str, str]:
    """Read `<T extends A & B, U>` at the start of a text.

    Args:
        text: any text.
        variables: extended by what is declared.
        interfaces: descriptors of interfaces, which bound a variable in another form.

    Returns:
        the generic signature (empty without parameters) and the rest of the text.

    """
    if not text.startswith("<"):
        return "", text
    depth = end = 0
    for end, c in enumerate(text):  # noqa: B007 - where it stopped is what is wanted
        depth += (c == "<") - (c == ">")
        if depth == 0:
            break
    items = split_outside(text[1:end], ",")
    variables |= {item.split()[0]: "Ljava/lang/Object;" for item in items}
    signature = ""
    for item in items:
        name, _, bounds = item.partition(" extends ")
        signature += name
        if not bounds:
            signature += ":Ljava/lang/Object;"
            continue
        for number, bound in enumerate(bounds.split(" & ")):
            generic, erased = TypeReader(bound.strip(), variables).read()
            if number == 0:
                variables[name] = erased
                signature += ":" if erased in interfaces else ""
            signature += ":" + generic
    return f"<{signature}>", text[end + 1 :]


def parents_of(one: Declared) -> tuple[str, list[str]]:
    """Return what a declaration extends and implements, as it is written; interfaces extend Object."""
    _, rest = read_parameters(one.rest, {}, set())
    match = re.match(r"\s*(?:extends (.*?))?\s*(?:implements (.*))?$", rest)
    assert match, one.rest
    extended, implemented = (split_outside(part or "", " ") for part in match.groups())
    if one.kind == "@interface":
        return "Object", ["java.lang.annotation.Annotation"]
    if one.is_interface:
        return "Object", extended + implemented
    if not extended:
        extended = [f"java.lang.Enum<{one.name}>" if one.kind == "enum" else "Object"]
    return extended[0], implemented


def split_call(text: str) -> tuple[str, str, str]:
    """Return what stands before, in and after the parentheses of a method."""
    start, depth = text.index("("), 0
    for end in range(start, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            return text[:start], text[start + 1 : end], text[end + 1 :]
    raise ValueError(f"no end of the parameters in {text!r}")
