"""The checks of the Android demo, as far as they need no compiler: what they read, and what they refuse."""

from __future__ import annotations

import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from android_demo.check.api_levels import GUARDED, ApiLevels, level_complaints, read_classes
from android_demo.check.catalog import catalog_complaints
from android_demo.check.class_files import write_android_jar
from android_demo.check.faults import (
    APP_FAULTS,
    CATALOG_FAULTS,
    COMPONENT_FAULTS,
    MANIFEST_FAULTS,
    PIPELINE_FAULTS,
    RESOURCE_FAULTS,
    Fault,
    planted,
)
from android_demo.check.framework_calls import (
    FRAMEWORK,
    ApiList,
    Call,
    SignatureList,
    calls_into,
)
from android_demo.check.kotlin import read_junit
from android_demo.check.native import page_complaints
from android_demo.check.package import alignment_complaints, assemble, content_complaints
from android_demo.check.reports import report_complaints
from android_demo.check.resources import component_complaints, components
from android_demo.check.signatures import read_signatures
from pocketportrait.errors import MissingToolError

DEMO = Path(__file__).resolve().parent.parent / "android_demo"
FAULTS = (
    *PIPELINE_FAULTS,
    *MANIFEST_FAULTS,
    *APP_FAULTS,
    *RESOURCE_FAULTS,
    *COMPONENT_FAULTS,
    *CATALOG_FAULTS,
)
SIGNATURES = """// Signature format: 2.0
package android.tiny {

  public class Box<T extends java.lang.CharSequence> implements java.lang.AutoCloseable {
    ctor public Box(int, @NonNull String);
    method public void close() throws java.io.IOException;
    method @Nullable public T first(java.util.List<? super T>, long...);
    field public static final int SIZE = 3; // 0x3
    field public static final String NAME = "box";
  }

  public static interface Box.Opened<T> {
    method public default boolean isOpen();
    method public void onOpened(android.tiny.Box<?>, @NonNull android.tiny.Shape);
  }

  public enum Shape {
    enum_constant public static final android.tiny.Shape ROUND;
  }

}
"""


def test_the_catalog_is_that_of_the_dated_list() -> None:
    assert catalog_complaints(DEMO) == []


@pytest.mark.parametrize("fault", CATALOG_FAULTS, ids=lambda f: f.name)
def test_a_fault_of_the_catalog_is_noticed(fault: Fault, tmp_path: Path) -> None:
    found = catalog_complaints(planted(DEMO, tmp_path / "copy", (fault,)))
    assert any(fault.noticed_by in complaint for complaint in found)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_every_fault_still_has_its_place(fault: Fault) -> None:
    assert fault.sound in (DEMO / fault.file).read_text()
    assert fault.sound != fault.faulty


def test_a_fault_whose_place_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = Fault("gone", "settings.gradle.kts", "no such text", "x", "")
    with pytest.raises(ValueError, match="has no 'no such text' any more"):
        planted(DEMO, tmp_path / "copy", (gone,))


def test_class_files_are_ones_that_java_reads(tmp_path: Path) -> None:
    (tmp_path / "current.txt").write_text(SIGNATURES)
    assert write_android_jar(tmp_path / "current.txt", tmp_path / "tiny.jar") == 3
    with zipfile.ZipFile(tmp_path / "tiny.jar") as jar:
        names = jar.namelist()
        data = jar.read("android/tiny/Box.class")
    assert names == [f"android/tiny/{n}.class" for n in ("Box", "Box$Opened", "Shape")]
    assert struct.unpack_from(">IHH", data) == (0xCAFEBABE, 0, 52)
    command = ["javap", "-v", "-cp", str(tmp_path / "tiny.jar"), "android.tiny.Box"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no JDK")
    for line in (
        "class android.tiny.Box<T extends java.lang.CharSequence>",
        "public T first(java.util.List<? super T>, long...)",
        "public void close() throws java.io.IOException",
        "ConstantValue: int 3",
        "ConstantValue: String box",
        "public static #",
    ):
        assert line in said, line


def test_calls_are_found_in_class_files_and_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "A.class").write_bytes(_class_that_calls("android/tiny/Box", "put", "(I[J)V"))
    (tmp_path / "a" / "B.class").write_bytes(_class_that_calls("java/lang/Object", "<init>", "()V"))
    assert calls_into(FRAMEWORK, tmp_path) == {Call("android/tiny/Box", "put", 2)}
    assert calls_into(FRAMEWORK, tmp_path, results=True) == {
        Call("android/tiny/Box", "put", 2, "V")
    }
    assert calls_into(FRAMEWORK, tmp_path, but=["A"]) == set()
    with zipfile.ZipFile(tmp_path / "api.whl", "w") as wheel:
        wheel.writestr(
            "android-stubs/tiny/__init__.pyi",
            "class Base:\n    def put(self, a: int, b: int): ...\n"
            "class Box(Base):\n    class Opened:\n        def go(self): ...\n"
            "    @staticmethod\n    def make(a: int): ...\n    def __init__(self): ...\n"
            "    def say(self, a: int, *words: object): ...\n",
        )
    api = ApiList(tmp_path / "api.whl")
    for owner, name, arity in (
        ("Box", "put", 2),
        ("Box", "make", 1),
        ("Box", "<init>", 0),
        ("Box", "say", 2),  # any number of words is one array
        ("Box$Opened", "go", 0),
    ):
        assert api.has(Call(f"android/tiny/{owner}", name, arity))
    for owner, name, arity in (
        ("Box", "put", 1),
        ("Box", "take", 0),
        ("Box", "say", 1),
        ("Sphere", "put", 2),
        ("Box$Opened", "put", 2),
    ):
        assert not api.has(Call(f"android/tiny/{owner}", name, arity))


def test_calls_are_looked_up_in_signatures_and_their_parents(tmp_path: Path) -> None:
    text = SIGNATURES + (
        "package java.lang {\n\n  public class Object {\n    method public int hashCode();\n  }\n\n"
        "  public interface AutoCloseable {\n    method public void close();\n  }\n\n}\n"
    )
    (tmp_path / "current.txt").write_text(text)
    known = SignatureList(read_signatures(tmp_path / "current.txt"))
    box = "android/tiny/Box"
    for owner, name, arity in (
        (box, "<init>", 2),
        (box, "first", 2),
        (box, "hashCode", 0),
        (f"{box}$Opened", "onOpened", 2),
    ):
        assert known.has(Call(owner, name, arity)), (owner, name)
    for owner, name, arity in (
        (box, "<init>", 0),
        (box, "first", 1),
        (box, "last", 0),
        ("java/lang/String", "isBlank", 0),
    ):
        assert not known.has(Call(owner, name, arity)), (owner, name)


def test_a_call_is_looked_up_with_what_it_returns(tmp_path: Path) -> None:
    text = SIGNATURES + (
        "package java.lang {\n\n  public class Object {\n    method public int hashCode();\n  }\n\n}\n"
        "package java.nio {\n\n  public abstract class Buffer {\n    method public java.nio.Buffer clear();\n"
        "  }\n\n  public class FloatBuffer extends java.nio.Buffer {\n"
        "    method public <A extends java.nio.Buffer> A as(Class<A>);\n  }\n\n}\n"
    )
    (tmp_path / "current.txt").write_text(text)
    known = SignatureList(read_signatures(tmp_path / "current.txt"))
    buffer = "java/nio/FloatBuffer"
    assert known.has(Call(buffer, "clear", 0, "Ljava/nio/Buffer;"))
    assert not known.has(
        Call(buffer, "clear", 0, "Ljava/nio/FloatBuffer;")
    )  # a JDK's, not Android's
    assert known.has(Call(buffer, "as", 1, "Ljava/nio/Buffer;"))
    assert known.has(Call("android/tiny/Box", "first", 2, "Ljava/lang/CharSequence;"))
    assert known.has(Call("android/tiny/Box", "<init>", 2, "V"))


DECLARED = """declare module android {
\texport module os {
\t\t/** @since 23 */
\t\texport class Box<T> extends android.os.Base<java.util.List<T>> implements android.os.Shut {
\t\t\tpublic static SIZE: 3;
\t\t\tpublic constructor(a: number);
\t\t\t/** @since 29 */
\t\t\tpublic put(a: java.util.Map<string, number>, b: number): void;
\t\t\tpublic put(a: (b: number, c: number) => void): void;
\t\t}
\t\texport class Base<T> extends java.lang.Object {
\t\t\tpublic constructor(implementation: {
\t\t\t\tgo(): void;
\t\t\t});
\t\t\tpublic go(): void;
\t\t}
\t\texport module Box {
\t\t\texport abstract class Lid extends java.lang.Object {
\t\t\t\t/** @since 30 */
\t\t\t\tpublic static open(...a: string[]): android.os.Box<string>;
\t\t\t}
\t\t}
\t}
}
"""


def test_calls_are_as_old_as_their_declarations_say(tmp_path: Path) -> None:
    classes = read_classes(DECLARED.splitlines())
    assert set(classes) == {"android.os.Box", "android.os.Base", "android.os.Box.Lid"}
    file = tmp_path / "types.d.ts"
    file.write_text(DECLARED)
    with tarfile.open(tmp_path / "types.tgz", "w:gz") as archive:
        archive.add(file, "package/lib/android/android-platform-21-37-merged.d.ts")
    levels = ApiLevels(tmp_path / "types.tgz")
    for owner, name, arity, since in (
        ("Box", "<init>", 1, 23),
        ("Box", "put", 2, 29),
        ("Box", "put", 1, 23),
        ("Box", "go", 0, 23),
        ("Base", "go", 0, 21),
        ("Box$Lid", "open", 1, 30),
        ("Box", "<init>", 0, None),
        ("Box", "take", 0, None),
    ):
        assert levels.since(Call(f"android/os/{owner}", name, arity)) == since, (owner, name)
    old = Call("android/os/Box", "put", 1)
    calls = {old, *GUARDED}
    assert [c for c in level_complaints(calls, levels, 26) if "Box" in c] == []
    assert (
        "since 29, want 26" in level_complaints({Call("android/os/Box", "put", 2)}, levels, 26)[0]
    )
    assert any("nobody calls it" in c for c in level_complaints({old}, levels, 26))


def test_what_junit_prints_is_read() -> None:
    assert read_junit("...\nOK (38 tests)\n").passed == 38
    failing = (
        "1) a swapped channel(dev.X)\njava.lang.AssertionError\n\nTests run: 5,  Failures: 1\n"
    )
    run = read_junit(failing)
    assert (run.passed, run.failed) == (4, ("a swapped channel",))
    with pytest.raises(MissingToolError, match="closing line"):
        read_junit("Error: Could not find or load main class")


def test_a_report_that_is_missing_or_unlike_the_schema_is_complained_of(tmp_path: Path) -> None:
    assert report_complaints(tmp_path / "none.json") == ["the tests wrote no report"]
    (tmp_path / "r.json").write_text('{"schema_version": 1, "kind": "report", "unknown": 1}')
    assert any("unknown" in complaint for complaint in report_complaints(tmp_path / "r.json"))


def test_libraries_for_small_pages_are_complained_of(tmp_path: Path) -> None:
    large, small, cut = tmp_path / "large.so", tmp_path / "small.so", tmp_path / "cut.so"
    large.write_bytes(_library(0x4000))
    small.write_bytes(_library(0x1000))
    cut.write_bytes(_library(0x4000)[:80])
    assert page_complaints([large]) == []
    assert page_complaints([small]) == ["small.so: want LOAD segments at 16384, got [4096]"]
    assert "cut off" in page_complaints([cut])[0]
    (tmp_path / "text.so").write_text("no library")
    assert "want a 64-bit ELF file" in page_complaints([tmp_path / "text.so"])[0]
    assert page_complaints([]) == ["want native libraries, got none"]


def test_what_is_read_in_place_is_stored_where_a_page_begins(tmp_path: Path) -> None:
    (tmp_path / "one.so").write_bytes(bytes(100))
    (tmp_path / "two.dex").write_bytes(bytes(99))
    with zipfile.ZipFile(tmp_path / "linked.apk", "w") as linked:
        linked.writestr("resources.arsc", bytes(77))
    files = {"classes.dex": tmp_path / "two.dex", "lib/one.so": tmp_path / "one.so"}
    assemble(tmp_path / "linked.apk", files, tmp_path / "whole.apk")
    assert alignment_complaints(tmp_path / "whole.apk") == []
    with zipfile.ZipFile(tmp_path / "whole.apk") as whole:
        assert whole.testzip() is None
        assert whole.namelist() == ["resources.arsc", *files]
    with zipfile.ZipFile(tmp_path / "plain.apk", "w") as plain:
        plain.write(tmp_path / "one.so", "lib/one.so")
    assert alignment_complaints(tmp_path / "plain.apk") == [
        "lib/one.so: want it stored at a multiple of 16384"
    ]


def test_classes_that_the_manifest_names_have_to_be_there(tmp_path: Path) -> None:
    named = components(DEMO)
    assert {name.rpartition(".")[2] for name in named} == {
        "MainActivity",
        "SelfTestActivity",
        "ParityInstrumentation",
    }
    for name in named:
        file = tmp_path / f"{name.replace('.', '/')}.class"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert component_complaints(DEMO, tmp_path) == []
    file.unlink()
    assert component_complaints(DEMO, tmp_path) == [f"{name} has no class"]


def test_a_package_that_is_not_what_the_files_say_is_complained_of() -> None:
    named = sorted(components(DEMO))
    classes = [f"L{name.replace('.', '/')};" for name in named] + ["Lkotlin/Unit;"]
    whole = {
        "package": "dev.pocketportrait.demo",
        "min_sdk": "26",
        "target_sdk": "36",
        "permissions": ["android.permission.CAMERA"],
        "components": named,
        "schemes": [False, True, True],
        "classes": classes,
        "types": ["Lkotlin/Unit;", "Landroid/app/Activity;", "Lcom/google/ai/edge/litert/Model;"],
    }
    assert content_complaints(whole, DEMO) == []
    for change, words in (
        ({"permissions": ["android.permission.INTERNET"]}, "permissions: want ['android.permi"),
        ({"schemes": [True, False, False]}, "schemes: want [False, True, True]"),
        ({"classes": classes[1:]}, "no class of the package is dev.pocketportrait.demo.Main"),
        ({"types": ["Lkotlin/Gone;"]}, "Lkotlin/Gone; is named and nobody has it"),
    ):
        assert [c for c in content_complaints(whole | change, DEMO) if words in c], words


def _library(alignment: int) -> bytes:
    head = b"\x7fELF\x02\x01" + bytes(26) + struct.pack("<Q", 64) + bytes(14)
    head += struct.pack("<HH", 56, 2) + bytes(6)
    segments = [struct.pack("<I44xQ", kind, alignment) for kind in (1, 2)]
    return head + b"".join(segments)


def _class_that_calls(owner: str, name: str, descriptor: str) -> bytes:
    def text(value: str) -> bytes:
        return b"\x01" + struct.pack(">H", len(value)) + value.encode()

    pool = [text(owner), b"\x07\x00\x01", text(name), text(descriptor)]
    pool += [struct.pack(">BHH", 12, 3, 4), struct.pack(">BHH", 10, 2, 5)]
    return struct.pack(">IHHH", 0xCAFEBABE, 0, 52, len(pool) + 1) + b"".join(pool) + bytes(14)
