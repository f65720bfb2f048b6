"""Class files that can be compiled against and never run, written from Android's signatures."""

from __future__ import annotations

import ast
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from android_demo.check.signatures import (
    JAVA_INTERFACES,
    Declared,
    Member,
    TypeReader,
    Variables,
    binary_name,
    parents_of,
    read_parameters,
    read_signatures,
    split_call,
)

ACCESS = {
    "public": 1, "private": 2, "protected": 4, "static": 8, "final": 0x10, "synchronized": 0x20,
    "volatile": 0x40, "transient": 0x80, "native": 0x100, "abstract": 0x400, "strictfp": 0x800,
}  # fmt: skip
VARARGS, INTERFACE, ABSTRACT, ANNOTATION, ENUM, SUPER = 0x80, 0x200, 0x400, 0x2000, 0x4000, 0x20
JAVA_8 = 52
THROW_NULL = b"\x01\xbf"  # aconst_null, athrow
JDK = re.compile(r"(java|javax|org\.w3c|org\.xml)\.")


def write_android_jar(signatures: Path, jar: Path) -> int:
    """Write a jar of everything in a signature file that no JDK has; return how many classes."""
    declared = {
        name: one
        for name, one in read_signatures(signatures).items()
        if not JDK.match(name) or name.startswith("javax.microedition.")
    }
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in class_files(declared):
            archive.writestr(zipfile.ZipInfo(f"{name}.class", (1980, 1, 1, 0, 0, 0)), data)
    return len(declared)


def class_files(declared: Mapping[str, Declared]) -> Iterator[tuple[str, bytes]]:
    """Yield the binary name and the class file of every declaration."""
    interfaces = {f"L{binary_name(d.name)};" for d in declared.values() if d.is_interface}
    interfaces |= {f"Ljava/lang/{name};" for name in JAVA_INTERFACES}
    nested: dict[str, set[str]] = {}
    for one in declared.values():
        for outer in one.outer_names:
            nested.setdefault(outer, set()).add(one.name)
    for one in declared.values():
        writer = _ClassWriter(one, declared, interfaces, nested.get(one.name, set()))
        yield binary_name(one.name), writer.data()


class _Pool:
    """The constants of one class."""

    def __init__(self) -> None:
        self.data, self.count = bytearray(), 1
        self._places: dict[tuple[int, bytes], int] = {}

    def add(self, tag: int, data: bytes) -> int:
        if (tag, data) not in self._places:
            self._places[tag, data] = self.count
            self.data += bytes([tag]) + data
            self.count += 2 if tag in (5, 6) else 1
        return self._places[tag, data]

    def text(self, text: str) -> int:
        data = text.encode("utf-16", "surrogatepass").decode("utf-16").encode()
        data = data.replace(b"\0", b"\xc0\x80")
        return self.add(1, struct.pack(">H", len(data)) + data)

    def type(self, name: str) -> int:
        return self.add(7, struct.pack(">H", self.text(name)))

    def constant(self, descriptor: str, value: str) -> int | None:
        """Return the place of a field's constant, None if it has none that a class file can hold."""
        if descriptor == "Ljava/lang/String;":
            return self.add(8, struct.pack(">H", self.text(ast.literal_eval(value))))
        if descriptor == "Z":
            return self.add(3, struct.pack(">i", value == "true"))
        if descriptor == "J":
            return self.add(5, struct.pack(">q", int(value.rstrip("L"))))
        if descriptor in ("F", "D"):
            tag, form = (4, ">f") if descriptor == "F" else (6, ">d")
            return self.add(tag, struct.pack(form, _real(value)))
        if descriptor == "C" and value.startswith("'"):
            return self.add(3, struct.pack(">i", ord(ast.literal_eval(value))))
        if descriptor in ("I", "S", "B", "C"):
            return self.add(3, struct.pack(">i", int(value)))
        return None


def _real(value: str) -> float:
    special = {"(1.0/0.0)": "inf", "(-1.0/0.0)": "-inf", "(0.0/0.0)": "nan"}
    plain = re.sub(r"0[fF]/", "0/", value).replace("0f)", "0)")
    return float(special.get(plain, plain.rstrip("fF").strip("()")))


class _ClassWriter:
    """Writes one class."""

    def __init__(
        self,
        one: Declared,
        declared: Mapping[str, Declared],
        interfaces: set[str],
        nested: set[str],
    ) -> None:
        self.one, self.declared, self.interfaces, self.nested = one, declared, interfaces, nested
        self.pool = _Pool()
        self.variables: Variables = {}
        for outer in one.outer_names:
            if outer in declared:
                read_parameters(declared[outer].rest, self.variables, interfaces)
        self.parameters, _ = read_parameters(one.rest, self.variables, interfaces)

    def data(self) -> bytes:
        """Return the file."""
        parent, implemented = self._parents()
        header = struct.pack(
            ">HHHH",
            self._access(),
            self.pool.type(binary_name(self.one.name)),
            self.pool.type(parent[1][1:-1]),
            len(implemented),
        )
        header += b"".join(struct.pack(">H", self.pool.type(i[1][1:-1])) for i in implemented)
        fields: list[bytes] = []
        methods: list[bytes] = []
        for member in self.one.members:
            is_field = member.kind in ("field", "enum_constant")
            (fields if is_field else methods).append(
                self._field(member) if is_field else self._method(member)
            )
        attributes = self._inner_classes()
        generic = self.parameters + parent[0] + "".join(i[0] for i in implemented)
        if generic != parent[1] + "".join(i[1] for i in implemented):
            attributes.append(self._attribute("Signature", self._place(generic)))
        body = header + _counted(fields) + _counted(methods) + _counted(attributes)
        start = struct.pack(">IHHH", 0xCAFEBABE, 0, JAVA_8, self.pool.count)
        return start + bytes(self.pool.data) + body

    def _parents(self) -> tuple[tuple[str, str], list[tuple[str, str]]]:
        extended, implemented = parents_of(self.one)
        return self._type(extended), [self._type(name) for name in implemented]

    def _access(self) -> int:
        one = self.one
        access = 1 if one.modifiers & {"public", "protected"} else 0
        access |= 0x10 if "final" in one.modifiers else 0
        access |= ABSTRACT if "abstract" in one.modifiers or one.is_interface else 0
        access |= INTERFACE if one.is_interface else SUPER
        access |= 0x10 | ENUM if one.kind == "enum" else 0
        return access | (ANNOTATION if one.kind == "@interface" else 0)

    def _type(self, text: str, variables: Variables | None = None) -> tuple[str, str]:
        return TypeReader(text, self.variables if variables is None else variables).read()

    def _place(self, text: str) -> bytes:
        return struct.pack(">H", self.pool.text(text))

    def _attribute(self, name: str, data: bytes) -> bytes:
        return struct.pack(">HI", self.pool.text(name), len(data)) + data

    def _field(self, member: Member) -> bytes:
        match = re.match(r"(.*?)\s+(\w+)(?:\s*=\s*(.*))?;$", member.text)
        assert match, member.text
        generic, erased = self._type(match[1])
        access = _access_of(member) | (ENUM if member.kind == "enum_constant" else 0)
        attributes = []
        if match[3] not in (None, "null") and member.kind == "field":
            place = self.pool.constant(erased, match[3])
            if place is not None:
                attributes.append(self._attribute("ConstantValue", struct.pack(">H", place)))
        if generic != erased:
            attributes.append(self._attribute("Signature", self._place(generic)))
        start = struct.pack(">HHH", access, self.pool.text(match[2]), self.pool.text(erased))
        return start + _counted(attributes)

    def _method(self, member: Member) -> bytes:
        variables = dict(self.variables)
        parameters, text = read_parameters(member.text, variables, self.interfaces)
        head, inside, tail = split_call(text.strip())
        name, result = "<init>", ("V", "V")
        if member.kind == "method":
            kind, _, name = head.rpartition(" ")
            result = self._type(kind, variables)
        reader = TypeReader(inside, variables)
        arguments = []
        while reader.skip(" *") is not None and reader.at < len(inside):
            arguments.append(reader.read())
            reader.skip(r" *(\w+)? *,?")
        has_outer = member.kind == "ctor" and self._is_inner()
        outer = [f"L{binary_name(self.one.outer_names[-1])};"] if has_outer else []
        erased = [*outer, *(a[1] for a in arguments)]
        access = _access_of(member) | (VARARGS if reader.is_varargs else 0)
        if self.one.is_interface and not member.modifiers & {"static", "default"}:
            access |= ABSTRACT
        attributes = []
        if not access & (ABSTRACT | ACCESS["native"]):
            slots = 1 + sum(2 if e in "JD" else 1 for e in erased)
            code = struct.pack(">HHI", 1, slots, len(THROW_NULL)) + THROW_NULL + bytes(4)
            attributes.append(self._attribute("Code", code))
        if match := re.search(r"throws ([^;]*)", tail):
            thrown = [self._type(t.strip(), variables)[1][1:-1] for t in match[1].split(",")]
            places = b"".join(struct.pack(">H", self.pool.type(t)) for t in thrown)
            attributes.append(
                self._attribute("Exceptions", struct.pack(">H", len(thrown)) + places)
            )
        descriptor = f"({''.join(erased)}){result[1]}"
        generic = f"{parameters}({''.join(a[0] for a in arguments)}){result[0]}"
        if generic != descriptor and not has_outer:
            attributes.append(self._attribute("Signature", self._place(generic)))
        start = struct.pack(">HHH", access, self.pool.text(name), self.pool.text(descriptor))
        return start + _counted(attributes)

    def _is_inner(self) -> bool:
        one = self.one
        return bool(one.outer_names) and one.kind == "class" and "static" not in one.modifiers

    def _inner_classes(self) -> list[bytes]:
        names = {*self.nested, *self.one.outer_names[1:]}
        names |= {self.one.name} if self.one.outer_names else set()
        rows = []
        for name in sorted(names):
            outer, _, short = name.rpartition(".")
            places = (self.pool.type(binary_name(name)), self.pool.type(binary_name(outer)))
            flags = _inner_flags(self.declared[name]) if name in self.declared else 1
            rows.append(struct.pack(">HHHH", *places, self.pool.text(short), flags))
        return [self._attribute("InnerClasses", _counted(rows))] if rows else []


def _access_of(member: Member) -> int:
    return sum(ACCESS.get(modifier, 0) for modifier in member.modifiers)


def _inner_flags(one: Declared) -> int:
    flags = 4 if "protected" in one.modifiers else 1
    flags |= 8 if "static" in one.modifiers or one.kind != "class" else 0
    flags |= 0x10 if "final" in one.modifiers else 0
    flags |= INTERFACE | ABSTRACT if one.is_interface else 0
    flags |= ABSTRACT if "abstract" in one.modifiers else 0
    return flags | (ENUM if one.kind == "enum" else 0)


def _counted(rows: list[bytes]) -> bytes:
    return struct.pack(">H", len(rows)) + b"".join(rows)
