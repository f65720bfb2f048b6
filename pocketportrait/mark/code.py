"""The error-correcting code of the mark: 64 bits of a bundle id become 216 that survive noise.

A CRC of 8 bits, then the convolutional code of constraint length 7 and rate 1/3 with the generators
133, 165, 171 (octal; Proakis, Digital Communications, table 8-2-2), bent into a ring, so that no bits
are spent on its ends.
"""

from __future__ import annotations

import functools

import numpy as np

from pocketportrait.contract import Array

ID_BITS = 64
CRC_BITS = 8
MESSAGE_BITS = ID_BITS + CRC_BITS
GENERATORS = (0o133, 0o165, 0o171)
MEMORY = 6
CODED_BITS = MESSAGE_BITS * len(GENERATORS)
_CRC_POLYNOMIAL = 0x2F  # CRC-8-AUTOSAR: every three wrong bits of a message this short are seen
_LAPS = 3  # of the ring; the middle one is read, where the decoder has forgotten where it began


def encode(bundle_id: int) -> Array:
    """Return the coded bits of an id, [216], 0 or 1.

    Args:
        bundle_id: 0 <= id < 2**64.

    """
    message = _message(bundle_id)
    window = np.stack([np.roll(message, delay) for delay in range(MEMORY + 1)])
    coded = [np.bitwise_xor.reduce(window[_taps(generator)], axis=0) for generator in GENERATORS]
    return np.stack(coded, axis=1).ravel()


def decode(soft: Array) -> tuple[int, bool]:
    """Read an id from soft bits: the likeliest message by the Viterbi algorithm.

    Args:
        soft: [216], positive where a bit is rather 1, its size how sure that is.

    Returns:
        the id, and whether its CRC agrees.

    """
    branches = _branches()  # [state, input, output], -1 or 1
    steps = np.tile(soft.reshape(MESSAGE_BITS, len(GENERATORS)), (_LAPS, 1))
    states = np.arange(1 << MEMORY)
    # a state is the last six bits, the newest highest; two states lead to each
    newest = states >> (MEMORY - 1)
    before = np.stack([(states << 1) & 63, ((states << 1) & 63) | 1])
    score = np.zeros(len(states))
    choices = np.empty((len(steps), len(states)), np.int64)
    for index, step in enumerate(steps):
        candidates = score[before] + branches[before, newest] @ step
        choice = candidates.argmax(0)
        choices[index] = before[choice, states]
        score = candidates[choice, states]
    bits = np.empty(len(steps), np.int64)
    state = int(score.argmax())
    for index in range(len(steps) - 1, -1, -1):
        bits[index] = newest[state]
        state = int(choices[index, state])
    message = bits[MESSAGE_BITS : 2 * MESSAGE_BITS]
    bundle_id = int("".join(map(str, message[:ID_BITS])), 2)
    return bundle_id, bool((_message(bundle_id) == message).all())


def _message(bundle_id: int) -> Array:
    number = (bundle_id << CRC_BITS) | _crc(bundle_id)
    return np.array([(number >> i) & 1 for i in range(MESSAGE_BITS - 1, -1, -1)], np.int64)


def _crc(bundle_id: int) -> int:
    crc = 0xFF
    for byte in bundle_id.to_bytes(ID_BITS // 8, "big"):
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ (_CRC_POLYNOMIAL if crc & 0x80 else 0)) & 0xFF
    return crc ^ 0xFF


def _taps(generator: int) -> list[int]:
    return [delay for delay in range(MEMORY + 1) if generator >> (MEMORY - delay) & 1]


@functools.cache
def _branches() -> Array:
    """Return what leaves the encoder, [state, input, output], as -1 or 1."""
    table = np.empty((1 << MEMORY, 2, len(GENERATORS)))
    for state in range(1 << MEMORY):
        for given in range(2):
            window = (given << MEMORY) | state
            for output, generator in enumerate(GENERATORS):
                table[state, given, output] = 2 * ((window & generator).bit_count() & 1) - 1
    return table
