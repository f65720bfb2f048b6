"""Since which version of Android each framework call exists, from type declarations that say so.

The declarations are TypeScript's (NativeScript's types of API 21 to 37): modules, classes and methods in a
fixed form, one a line, with `@since` before what came later than the first.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from android_demo.check.framework_calls import MAX_DEPTH, Call

DECLARATIONS = "package/lib/android/android-platform-21-37-merged.d.ts"
OLDEST = 21
# what is newer than minSdk and stands behind a look at the version: Device.kt and Screen.kt
GUARDED = {
    Call("android/os/PowerManager", "getCurrentThermalStatus", 0): 29,
    Call("android/view/WindowInsets", "getDisplayCutout", 0): 28,
    **{
        Call("android/view/DisplayCutout", f"getSafeInset{side}", 0): 28
        for side in ("Left", "Top", "Right", "Bottom")
    },
}
OPENED = re.compile(r"(?:declare|export) (abstract class|class|module) ([\w.$]+)(.*)\{$")
METHOD = re.compile(r"public (?:static |abstract )*([\w$]+)(?:<.*?>)?\((.*)\)(?:: .*)?;$")
SINCE = re.compile(r"/\*\* @since (\d+) \*/$")
PARENT = re.compile(r"(?:extends|implements|,) ([\w.$]+)")


@dataclass
class _Class:
    since: int = OLDEST
    parents: list[str] = field(default_factory=list)
    methods: dict[tuple[str, int], int] = field(default_factory=dict)  # the oldest of each


class ApiLevels:
    """The public API of several versions of Android."""

    def __init__(self, package: Path) -> None:
        """Read the npm package of the declarations.

        Raises:
            ValueError: it holds no classes.

        """
        with tarfile.open(package) as archive:
            member = archive.extractfile(DECLARATIONS)
            lines = member.read().decode().splitlines() if member else []
        self._classes = read_classes(lines)
        if not self._classes:
            raise ValueError(f"{package.name}: want declarations of classes, got none")

    def since(self, call: Call) -> int | None:
        """Return the first version that has a method of this name and number of parameters, or None."""
        return self._since(call.owner.replace("/", ".").replace("$", "."), call, 0)

    def _since(self, owner: str, call: Call, depth: int) -> int | None:
        one = self._classes.get(owner)
        if one is None or depth > MAX_DEPTH:
            return None
        name = "constructor" if call.name == "<init>" else call.name
        levels = [one.methods.get((name, call.arity))]
        if call.name != "<init>":
            levels += [self._since(parent, call, depth + 1) for parent in one.parents]
        known = [level for level in levels if level is not None]
        return max(one.since, min(known)) if known else None


def level_complaints(calls: set[Call], levels: ApiLevels, least: int) -> list[str]:
    """Return the calls that the least version does not have and that are not known to be guarded.

    Args:
        calls: into Android's own packages; those of `java.*` are looked up elsewhere.
        levels: what is known.
        least: the minSdk of the app.

    """
    found = []
    for call in sorted(calls):
        since = levels.since(call)
        if since is None or since > GUARDED.get(call, least):
            what = "nobody knows since when" if since is None else f"since {since}, want {least}"
            found.append(f"{call.owner}.{call.name} with {call.arity} parameters: {what}")
    gone = sorted(call.name for call in GUARDED.keys() - calls)
    return found + [f"{name} is said to be guarded and nobody calls it" for name in gone]


def read_classes(lines: list[str]) -> dict[str, _Class]:
    """Return all classes of declarations, by their names with points."""
    found: dict[str, _Class] = {}
    stack: list[str] = []  # a name of each open brace
    since = OLDEST
    for line in map(str.strip, lines):
        if line.startswith("/**") and (match := SINCE.match(line)):
            since = int(match[1])
            continue
        if line.endswith("{") and (match := OPENED.match(line)):
            stack.append(".".join([*stack[-1:], match[2]]))
            if match[1] != "module":
                parents = [p for p in PARENT.findall(_plain(match[3])) if p != "java.lang.Object"]
                found.setdefault(stack[-1], _Class(since, parents))
        elif line.startswith("public ") and (method := METHOD.match(line)):
            _add(
                found.get(stack[-1] if stack else ""),
                method[1],
                len(list(_parameters(method[2]))),
                since,
            )
        else:
            stack += stack[-1:] * line.count("{")
            del stack[len(stack) - line.count("}") :]
        since = OLDEST
    return found


def _add(one: _Class | None, name: str, arity: int, since: int) -> None:
    if one is not None:
        one.methods[name, arity] = min(since, one.methods.get((name, arity), since))


def _plain(text: str) -> str:
    """Return a text without what stands in angle brackets."""
    while (shorter := re.sub(r"<[^<>]*>", "", text)) != text:
        text = shorter
    return text


def _parameters(text: str) -> Iterator[str]:
    depth, start = 0, 0
    text = text.replace("=>", "--")
    for at, letter in enumerate(text):
        depth += (letter in "<([{") - (letter in ">)]}")
        if letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if text.strip():
        yield text[start:]
