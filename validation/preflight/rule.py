"""What a rule is: something to find in a graph, for whom it matters, and the rewrite that mends it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pocketportrait.validation.preflight.graph import Graph
from pocketportrait.validation.preflight.targets import Target


class Severity(enum.StrEnum):
    """How much a finding hurts."""

    ERROR = "error"  # wrong numbers, or the target gives the work back to a slower processor
    WARNING = "warning"  # may be so, or costs a part; fails only where --strict is asked for
    NOTE = "note"  # good to know


@dataclass(frozen=True, slots=True)
class Range:
    """The largest |value| that an operation gave on real inputs; infinity where it overflowed."""

    node: str
    operator: str
    largest: float
    samples: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule looks at: one graph for one target, with ranges where real inputs were at hand."""

    graph: Graph
    target: Target
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where a rule holds; `severity` is given where it differs from the rule's own."""

    node: str
    operator: str
    why: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; targets that `severity` does not name are not concerned.

    The rewrite is exact: the tests run both graphs and compare numbers.
    """

    id: str
    severity: Mapping[str, Severity]
    rewrite: str
    evidence: tuple[str, ...]  # public pages, or a page of our own with the measurement
    find: Callable[[Subject], Iterator[Hit]]

    def apply(self, subject: Subject) -> Iterator[tuple[Hit, Severity]]:
        """Yield hits with their severity for the subject's target."""
        own = self.severity.get(subject.target.name)
        if own is None:
            return
        for hit in self.find(subject):
            yield hit, hit.severity or own
