"""Peak memory, measured in a separate process."""

import pytest

from hypernetworks.bench.memory import is_measurable, peak_memory
from hypernetworks.bench.sizes import Size

SIZE = Size("for memory", T=64, B=32, I=16, H=256, K=8, Z=4)

pytestmark = pytest.mark.skipif(not is_measurable(), reason="needs Linux's /proc")


def test_it_is_what_a_training_step_keeps_however_large_the_process_that_asks() -> None:
    ballast = bytearray(600 << 20)  # would be in ru_maxrss of the process that measures
    peak = peak_memory("lstm", "nn.LSTM", SIZE)
    del ballast
    kept = 4 * SIZE.T * SIZE.B * (4 + 2) * SIZE.H  # gates, h and c of all steps, in float32
    assert kept / 2 < peak < 12 * kept


def test_a_process_that_fails_tells_its_last_words() -> None:
    with pytest.raises(RuntimeError, match=r"the measuring process ended with 1: KeyError: 'nobody'"):
        peak_memory("lstm", "nobody", SIZE)
