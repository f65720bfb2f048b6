"""What `am instrument -r` prints, by the forms in Android's source; none of it was recorded on a phone."""

from __future__ import annotations

import pytest

from pocketportrait.runtime.targets.instrumentation import read_instrumentation

GOOD = """INSTRUMENTATION_RESULT: nonce=0123
INSTRUMENTATION_RESULT: passed=true
INSTRUMENTATION_RESULT: sha256=ab=cd
INSTRUMENTATION_CODE: -1
"""
NOT_FOUND = """INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: ComponentInfo{a/b}
INSTRUMENTATION_STATUS: id=ActivityManagerService
INSTRUMENTATION_STATUS_CODE: -1
"""
EXCEPTION = """android.util.AndroidException: INSTRUMENTATION_FAILED: a/.B
\tat com.android.commands.am.Instrument.run(Instrument.java:519)
"""
CRASH = """INSTRUMENTATION_RESULT: shortMsg=Process crashed.
INSTRUMENTATION_RESULT: longMsg=java.lang.RuntimeException: no
more words
INSTRUMENTATION_CODE: 0
"""


def test_results_of_a_run_that_ended_well_are_read() -> None:
    ended = read_instrumentation(GOOD.replace("\n", "\r\n"))
    assert ended.complaint == ""
    assert ended.code == -1
    assert ended.results == {"nonce": "0123", "passed": "true", "sha256": "ab=cd"}


@pytest.mark.parametrize(
    ("out", "errors", "complaint"),
    [
        ("", "", "it never came to an end"),
        (GOOD.replace("INSTRUMENTATION_CODE: -1\n", ""), "", "it never came to an end"),
        (GOOD.replace("CODE: -1", "CODE: 0"), "", "it ended with code 0"),
        (NOT_FOUND, EXCEPTION, "Unable to find instrumentation info for: ComponentInfo{a/b}"),
        ("", EXCEPTION, "failed: a/.B"),
        ("INSTRUMENTATION_ABORTED: System has crashed.\n", "", "aborted: System has crashed."),
        (CRASH, "", "java.lang.RuntimeException: no more words"),
        (
            "INSTRUMENTATION_RESULT: error=model.onnx: want sha256 1,\ngot 2\nINSTRUMENTATION_CODE: 0",
            "",
            "model.onnx: want sha256 1, got 2",
        ),
    ],
)
def test_a_run_that_did_not_end_well_says_why(out: str, errors: str, complaint: str) -> None:
    assert read_instrumentation(out, errors).complaint == complaint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "INSTRUMENTATION_RESULT: passed=true\n", "passed came twice"),
        (GOOD + "INSTRUMENTATION_CODE: -1\n", "the closing code came twice"),
        ("INSTRUMENTATION_CODE: well\n", "invalid literal"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_instrumentation(text)
