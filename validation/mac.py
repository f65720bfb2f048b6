"""What a Mac says of a bundle: parity, milliseconds and Core ML's plan, on CPU, GPU and Neural Engine.

Written for a Mac that somebody else has: one record comes out, for `import-result` on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.coreml_runner import why_not
from pocketportrait.runtime.targets.mac import MAC_UNITS
from pocketportrait.runtime.targets.registry import targets_named
from pocketportrait.validation.bench import BenchOptions, all_variants
from pocketportrait.validation.bench_target import measure_targets
from pocketportrait.validation.report_record import BundleFacts, Report
from pocketportrait.validation.verify import verify

FORMAT = "coreml"
REFERENCE = "local:onnxruntime"  # gives fresh samples where the bundle has onnx/fp32


def measure_mac(
    bundle: Path,
    options: BenchOptions | None = None,
    *,
    phone: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Verify and time every Core ML variant on every part of this Mac's chip.

    Args:
        bundle: a folder or `.zip` with Core ML variants.
        options: how often; see `BenchOptions`.
        phone: also an iPhone on a cable: its name, or nothing for the only one; None for none.
        tell: called with a line before each part.

    Raises:
        InputError: the bundle holds no Core ML variant.
        MissingToolError: this is no Mac, or coremltools is not installed.
        TargetError: the phone broke off.

    """
    if reason := why_not():
        raise MissingToolError(reason)
    names = [*MAC_UNITS]
    if phone is not None:
        names.append(f"iphone:{phone}" if phone else "iphone")
    with Bundle.open(bundle) as opened:
        choices = [choice for choice in all_variants(opened) if choice.format == FORMAT]
        if not choices:
            raise InputError(f"{bundle}: want a bundle with {FORMAT} variants, got none in it")
        formats = [f for f in ("onnx", FORMAT) if f in opened.manifest.variants]
        targets = targets_named([REFERENCE, *names] if "onnx" in formats else names)
        found = verify(opened, formats=formats, targets=targets, tell=tell)
        return Report(
            title="Pocket Portrait: a Mac",
            bundles=(BundleFacts.of(opened),),
            verifications=(found,),
            benches=measure_targets(choices, targets_named(names), options, tell=tell),
        )
