"""The files of the spool: whatever is cut off, what is whole is read."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.event.received import Trust
from worker.ledger.intake import spool
from worker.ledger.intake.inbox import Accepted, SignedRequest
from worker.ledger.intake.spool import Segment, SpooledRequest, _Spooled, read_records

KEYS = st.none() | st.binary(min_size=16, max_size=16)
EVENTS = st.builds(
    Accepted,
    source_id=st.text(max_size=8),
    anonymous_key=KEYS,
    user_key=KEYS,
    informs=st.booleans(),
    received_at=st.floats(0, 4e9),
    body=st.binary(max_size=40),
    trust=st.sampled_from(Trust),
)
SIGNED = st.none() | st.builds(SignedRequest, key=st.binary(max_size=16), forget_at=st.floats(0, 4e9))
REQUESTS = st.builds(
    SpooledRequest,
    key=st.binary(min_size=16, max_size=16),
    events=st.lists(EVENTS, max_size=3).map(tuple),
    signed=SIGNED,
)


def request(n: int) -> SpooledRequest:
    return SpooledRequest(
        n.to_bytes(16, "big"), (Accepted("src", b"a", None, False, float(n), b"body %d" % n),) * 2
    )


@given(requests=st.lists(REQUESTS, max_size=5), cut=st.integers(0, 10_000))
def test_any_cut_of_a_file_gives_the_requests_before_it(requests: list[SpooledRequest], cut: int) -> None:
    data = b"".join(one.to_record() for one in requests)
    cut = min(cut, len(data))
    read = list(read_records(data[:cut]))

    assert [one for one, _ in read] == requests[: len(read)]
    assert [one for one, _ in read_records(data)] == requests
    if len(read) < len(requests):
        ends = [end for _, end in read_records(data)]
        assert cut < ends[len(read)]


@given(requests=st.lists(REQUESTS, min_size=1, max_size=4), data=st.data())
def test_a_changed_byte_of_a_request_gives_only_requests_before_it(
    requests: list[SpooledRequest], data: st.DataObject
) -> None:
    records = [one.to_record() for one in requests]
    changed = data.draw(st.integers(0, len(records) - 1))
    place = data.draw(st.integers(spool._HEADER.size, len(records[changed]) - 1))
    broken = bytearray(records[changed])
    broken[place] ^= 0x20
    whole = b"".join([*records[:changed], bytes(broken), *records[changed + 1 :]])

    assert [one for one, _ in read_records(whole)] == requests[:changed]


def test_a_segment_is_counted_locked_and_removed(tmp_path: Path) -> None:
    segment = Segment(tmp_path)
    segment.sync(segment.write(request(1).to_record()))
    segment.sync(segment.write(request(2).to_record()))
    with spool.adopted(segment.path) as data:
        assert data is None
    assert spool.count_spooled(tmp_path) == _Spooled(4, segment.end, 0)
    assert [one for one, _ in read_records(segment.undrained())] == [request(1), request(2)]
    assert segment.path.stat().st_mode & 0o077 == 0

    segment.remove()
    segment.sync(segment.end)
    assert spool.files(tmp_path) == []
    with spool.adopted(segment.path) as data:
        assert data is None


def test_after_a_failed_flush_nothing_before_it_counts_as_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports a failed flush to one caller only."""
    segment = Segment(tmp_path)
    first, second = (segment.write(request(n).to_record()) for n in (1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(spool.os, "fsync", fail)
        with pytest.raises(OSError, match="broken"):
            segment.sync(first)
    with pytest.raises(OSError, match="earlier flush"):
        segment.sync(second)


def fail(_file: int) -> None:
    raise OSError(errno.EIO, "the disk is broken")


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        (b"", 0),
        # The last record was not whole, so its request was never answered.
        (request(2).to_record()[:5], 0),
        (request(2).to_record()[:-1], 0),
        # A record that is whole and wrong may have been answered.
        (request(2).to_record()[:-1] + b"x", len(request(2).to_record())),
    ],
)
def test_only_what_was_never_answered_is_deleted(tmp_path: Path, rest: bytes, kept: int) -> None:
    segment = Segment(tmp_path)
    segment.write(request(1).to_record() + rest)
    segment.close()
    with spool.adopted(segment.path) as data:
        assert data is not None
        ends = [end for _, end in read_records(data)]
        assert spool.discard(segment.path, data, ends[-1]) == kept
    assert spool.count_spooled(tmp_path) == _Spooled(0, 0, int(kept > 0))
