"""Weights on disk: safetensors with the student's sizes inside, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pocketportrait import atomic
from pocketportrait.errors import InputError
from pocketportrait.models.dims import StudentDims
from pocketportrait.models.student import Student

FORMAT = "pocketportrait-student-1"


def shipped_weights() -> Path:
    """Return the path of the `phone` student's weights inside the package."""
    return Path(str(resources.files("pocketportrait") / "assets" / "student.safetensors"))


def save_student(
    student: Student, path: Path, *, half: bool = True, facts: dict[str, str] | None = None
) -> None:
    """Write the weights, the sizes and free `facts` (training steps, data), whole or not at all.

    Args:
        student: any student.
        path: `.safetensors` file to write or replace.
        half: store float tensors as float16 (what is shipped).
        facts: strings for the file's metadata.

    """
    tensors = {}
    for name, value in student.state_dict().items():
        stored = value.half() if half and value.is_floating_point() else value
        tensors[name] = stored.detach().cpu().contiguous()
    metadata = {"format": FORMAT, "dims": student.dims.to_json(), **(facts or {})}
    atomic.write_bytes(path, safetensors_bytes(tensors, metadata))


def safetensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return a safetensors file; equal tensors and metadata make equal bytes.

    The library writes the metadata in another order every time.
    """
    content = save(tensors, metadata=metadata)
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[begin:]


def load_student(path: Path) -> Student:
    """Read a student in float32, in eval mode.

    Raises:
        InputError: no safetensors file of ours, or names and shapes unlike its own sizes.

    """
    facts = read_facts(path)
    student = Student(StudentDims.from_json(facts["dims"]))
    with safe_open(str(path), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    want = student.state_dict()
    if missing := sorted(want.keys() - tensors.keys()):
        raise InputError(
            f"{path.name}: weights are missing, first {missing[:3]}; is the file whole?"
        )
    if unknown := sorted(tensors.keys() - want.keys()):
        raise InputError(
            f"{path.name}: unknown weights, first {unknown[:3]}; another version wrote it"
        )
    for name, value in tensors.items():
        if value.shape != want[name].shape:
            raise InputError(
                f"{path.name}: {name}: want shape {tuple(want[name].shape)}, got {tuple(value.shape)};"
                " the sizes stored in the file do not fit its weights"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{path.name}: {name}: want finite weights, got NaN or infinity")
    student.load_state_dict(tensors)
    return student.eval()


def average_students(parts: Sequence[tuple[Path, float]], path: Path) -> Student:
    """Average the weights of students that share a training, and write the result.

    Points late on one way of training average to a student at least as good as each where their
    faults differ (Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482).

    Args:
        parts: weights files with how much each counts; at least two, above 0.
        path: `.safetensors` file to write or replace. Its facts name the parts.

    Raises:
        InputError: fewer than two parts, a share that is not above 0, or students of other sizes.

    """
    if len(parts) < 2 or any(not share > 0 for _, share in parts):
        raise InputError("want two or more weights files with shares above 0")
    students, facts = [load_student(file) for file, _ in parts], [read_facts(f) for f, _ in parts]
    for (file, _), student in zip(parts, students, strict=True):
        if student.dims != students[0].dims:
            raise InputError(f"{file}: want the sizes of {parts[0][0]}, got others")
    whole = sum(share for _, share in parts)
    states = [student.state_dict() for student in students]
    mean = {}
    for name, first in states[0].items():
        terms = [s[name] * (share / whole) for s, (_, share) in zip(states, parts, strict=True)]
        mean[name] = torch.stack(terms).sum(0) if first.is_floating_point() else first
    students[0].load_state_dict(mean)
    kept = {k: v for k, v in facts[0].items() if k not in ("format", "dims", "steps", "licence")}
    kept["licence"] = " AND ".join(sorted({f.get("licence", "") for f in facts} - {""}))
    kept["steps"] = " + ".join(
        f"{share / whole:.3f} x {_one_term(f.get('steps', '?'))}"
        for f, (_, share) in zip(facts, parts, strict=True)
    )
    save_student(students[0], path, facts=kept)
    return students[0]


def _one_term(steps: str) -> str:
    return f"({steps})" if " + " in steps else steps


def read_facts(path: Path) -> dict[str, str]:
    """Return the metadata of a weights file.

    Raises:
        InputError: the file is not there, or is not a student's safetensors file.

    """
    if not path.is_file():
        raise InputError(f"{path}: want a weights file (.safetensors), got nothing there")
    try:
        with safe_open(str(path), "pt") as file:
            facts = dict(file.metadata() or {})
    except SafetensorError as error:
        raise InputError(
            f"{path}: want safetensors, got another or a broken file ({error});"
            " pickled checkpoints are never read"
        ) from error
    if facts.get("format") != FORMAT or "dims" not in facts:
        raise InputError(f"{path}: want {FORMAT}, got {facts.get('format', 'no format')!r}")
    return facts
