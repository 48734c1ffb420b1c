"""The laws of streams: what comes next is what follows in the text, and all of it is read."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypernetworks.errors import UsageError
from hypernetworks.text.streams import Streams


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int, int]:
    """N, B, T with N enough for one batch."""
    batch, length = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    return batch * length + 1 + draw(st.integers(0, 60)), batch, length


def places(N: int, B: int, T: int) -> Streams:
    """Streams of a text in which each character is its own place."""
    return Streams(torch.arange(N, dtype=torch.int32), B, T)


@given(sizes(), st.integers(0, 10**6))
def test_each_character_is_to_be_predicted_from_the_one_before(sizes: tuple[int, int, int], step: int) -> None:
    N, B, T = sizes
    read, predict = places(*sizes).batch(step)
    assert read.shape == predict.shape == (T, B)
    assert read.dtype == predict.dtype == torch.int64
    assert torch.equal(predict, (read + 1) % N)
    assert torch.equal(predict[:-1], read[1:])


@given(sizes(), st.integers(0, 10**6))
def test_a_stream_goes_on_where_it_ended(sizes: tuple[int, int, int], step: int) -> None:
    streams = places(*sizes)
    assert torch.equal(streams.batch(step + 1)[0][0], streams.batch(step)[1][-1])


@given(sizes())
def test_streams_begin_at_equal_distances(sizes: tuple[int, int, int]) -> None:
    N, B, _ = sizes
    assert places(*sizes).batch(0)[0][0].tolist() == [b * (N // B) for b in range(B)]


@given(st.integers(1, 5), st.integers(1, 6), st.integers(2, 6), st.data())
def test_every_character_is_read_once_a_round(B: int, T: int, steps: int, data: st.DataObject) -> None:
    """While the streams read their own parts of steps·T characters; and on the ring as often as every other."""
    part = steps * T
    N = B * part + data.draw(st.integers(0, B - 1))
    streams = places(N, B, T)
    read = Counter(int(i) for step in range(steps) for i in streams.batch(step)[0].flatten())
    assert read == Counter(range(B * part))
    read = Counter(int(i) for step in range(N) for i in streams.batch(step)[0].flatten())
    assert read == Counter(dict.fromkeys(range(N), B * T))


def test_a_text_one_character_short_of_a_batch_is_refused() -> None:
    Streams(torch.zeros(13), 3, 4)
    with pytest.raises(UsageError, match=r"has 12 symbols, .* batch_size 3 times length 4, .* is 13$"):
        Streams(torch.zeros(12), 3, 4)


def test_random_offsets_turn_the_ring_before_each_pass() -> None:
    """Within a pass the text goes on; each pass begins elsewhere, depends on the seed alone, and reads every character once."""
    ids = torch.arange(96)
    streams = Streams(ids, 4, 6, offset_seed=3)
    assert streams.steps_per_pass == 4
    starts = []
    for number in range(6):
        read = torch.stack([streams.batch(4 * number + step)[0] for step in range(4)])  # (steps, T, B)
        assert sorted(read.flatten().tolist()) == list(range(96))
        stream = read[:, :, 0].flatten()
        assert torch.equal(stream, (stream[0] + torch.arange(24)) % 96)
        starts.append(int(stream[0]))
    assert len(set(starts)) > 3
    assert [streams.follows(step) for step in range(6)] == [False, True, True, True, False, True]
    again = Streams(ids, 4, 6, offset_seed=3)
    assert torch.equal(again.batch(13)[0], streams.batch(13)[0])
    assert not torch.equal(Streams(ids, 4, 6, offset_seed=4).batch(13)[0], streams.batch(13)[0])
