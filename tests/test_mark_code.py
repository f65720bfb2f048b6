import numpy as np
import pytest

from pocketportrait.mark.code import CODED_BITS, decode, encode

IDS = (0, 1, 0x0123456789ABCDEF, 2**64 - 1)


@pytest.mark.parametrize("bundle_id", IDS)
def test_what_is_encoded_is_decoded(bundle_id: int) -> None:
    coded = encode(bundle_id)
    assert coded.shape == (CODED_BITS,)
    assert set(np.unique(coded)) <= {0, 1}
    assert decode(2.0 * coded - 1) == (bundle_id, True)


def test_noise_as_strong_as_the_bits_is_corrected() -> None:
    random = np.random.default_rng(0)
    for bundle_id in IDS:
        soft = 2.0 * encode(bundle_id) - 1 + random.normal(0, 0.9, CODED_BITS)
        assert np.mean((soft > 0) != encode(bundle_id)) > 0.08
        assert decode(soft) == (bundle_id, True)


def test_noise_alone_is_seldom_intact() -> None:
    random = np.random.default_rng(1)
    intact = sum(decode(random.normal(size=CODED_BITS))[1] for _ in range(40))
    assert intact <= 2  # one in 256


def test_ids_differ_in_many_bits() -> None:
    assert np.sum(encode(4) != encode(5)) >= 13
