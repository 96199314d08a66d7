"""Messages of MIDI files: nothing is lost, and faults of files do not spread."""

import io

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmusic._src.formats import midi, smf
from jaxmusic._src.formats.smf import Message

DIVISION = (480).to_bytes(2, "big")


def file(*bodies: bytes, format: int = 1, header: bytes = b"") -> bytes:
    """A MIDI file of track chunks as they are given."""
    numbers = (format, len(bodies), 480)
    head = b"".join(n.to_bytes(2, "big") for n in numbers) + header
    chunks = [b"MTrk" + len(b).to_bytes(4, "big") + b for b in bodies]
    return b"MThd" + len(head).to_bytes(4, "big") + head + b"".join(chunks)


def notes(channel: int = 0, count: int = 4, pitch: int = 60) -> bytes:
    """Quarter notes one after another."""
    return b"".join(
        bytes([0, 0x90 | channel, pitch + i, 80, 0x83, 0x60, 0x80 | channel, pitch + i, 0])
        for i in range(count)
    )


RUNNING = b"\0\x90\x3c\x50\x83\x60\x3c\0"
"""A quarter note that ends without a status of its own."""


def sounding(data: bytes) -> list[tuple[int, int, int]]:
    """(tick, channel, pitch) of the notes of a file, read by another program."""
    heard = []
    for track in mido.MidiFile(file=io.BytesIO(data)).tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity:
                heard.append((tick, message.channel, message.note))
    return sorted(heard)


@st.composite
def tracks(draw: st.DrawFn) -> list[Message]:
    channel = st.tuples(
        st.sampled_from([0x80, 0x90, 0xA0, 0xB0, 0xE0]).flatmap(lambda s: st.just(s)),
        st.integers(0, 15),
        st.binary(min_size=2, max_size=2).map(lambda b: bytes(x & 127 for x in b)),
    ).map(lambda t: (t[0] | t[1], t[2]))
    single = st.tuples(st.integers(0xC0, 0xDF), st.integers(0, 127).map(lambda x: bytes([x])))
    meta = st.tuples(
        st.just(smf.META),
        st.tuples(st.integers(1, 0x2E), st.binary(max_size=200)).map(
            lambda t: bytes([t[0]]) + t[1]
        ),
    )
    sysex = st.tuples(st.sampled_from([smf.SYSEX, smf.ESCAPE]), st.binary(max_size=200))
    held = draw(st.lists(st.one_of(channel, single, meta, sysex), max_size=20))
    gaps = draw(st.lists(st.integers(0, 2**28 - 1), min_size=len(held), max_size=len(held)))
    tick, out = 0, []
    for gap, (status, data) in zip(gaps, held):
        tick += gap
        out.append(Message(tick, status, data))
    return out


@given(st.lists(tracks(), max_size=3))
def test_messages_come_back(written: list[list[Message]]) -> None:
    read = smf.split(smf.join(DIVISION, written))
    assert [smf.messages(body) for body in read.tracks] == written


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file(b"\0\xf7\x03\xf3\x01\x00" + notes()), id="escaped message"),
        pytest.param(
            file(b"\0\xf0\x03\x43\x12\x00\0\xf7\x03\x43\x12\xf7" + notes()), id="sysex in two parts"
        ),
        pytest.param(file(b"\0\xf0\x05\x50\x00\xff\x04\xf7" + notes()), id="sysex with a status"),
        pytest.param(file(b"\0\xb0\x07\xff" + notes()), id="controller of 255"),
        pytest.param(file(b"\0\xff\x58\x04\x02\x21\x18\x08" + notes()), id="meter of 2/2^33"),
        pytest.param(file(notes(), header=b"abcd"), id="long header"),
        pytest.param(
            file(
                RUNNING
                + b"\0\xff\x01\x01a\0"
                + RUNNING.replace(b"\x3c", b"\x3d")[2:]
                + notes(count=2, pitch=62)
            ),
            id="running status after a text",
        ),
        pytest.param(file(notes())[:10] + b"\0\5" + file(notes())[12:], id="tracks that lack"),
        pytest.param(file(notes(), b"\xff\xff\xff\x7f\xff\x2f\0"), id="another track ends late"),
        pytest.param(
            file(notes() + b"\xff\x7f\xff\x51\x03\x07\xa1\x20" * 9), id="tempos after the end"
        ),
        pytest.param(b"RIFF\x99\0\0\0RMIDdata\x99\0\0\0" + file(notes()), id="wrapped in RIFF"),
    ],
)
def test_faults_lose_no_note(data: bytes) -> None:
    expected = [(480 * i, 0, 60 + i) for i in range(4)]
    assert sounding(smf.parse(data).notes) == expected
    read = midi.from_bytes(data, "this")
    assert (read.onset.tolist(), read.pitch.tolist()) == ([0, 480, 960, 1440], [60, 61, 62, 63])
    assert (read.meter_num.tolist(), read.meter_den.tolist(), read.end) == ([4], [4], 1920)


def test_tempos_and_meters_of_one_track_hold_for_all() -> None:
    slow, meter = b"\x83\x60\xff\x51\x03\x0f\x42\x40", b"\0\xff\x58\x04\x0d\x06\x18\x08"
    read = midi.from_bytes(file(notes(), meter + slow), "this")
    assert read.seconds(read.onset).tolist() == [0, 0.5, 1.5, 2.5]
    assert read.meters == [(0, 13, 64)]


def test_tracks_may_share_a_channel() -> None:
    programs = list(range(0, 100, 5))
    data = file(*(bytes([0, 0xC0 | i % 9, n]) + notes(i % 9) for i, n in enumerate(programs)))
    read = midi.from_bytes(data, "this")
    assert sorted(read.program[read.track].tolist()) == sorted(programs * 4)


def test_a_program_belongs_to_its_channel_in_all_tracks() -> None:
    data = file(b"\0\xc2\x21\0\xc3\x38", notes(2), notes(3))
    assert [part.messages[0][1:] for part in smf.parse(data).parts] == [
        (0xC2, b"\x21"),
        (0xC3, b"\x38"),
    ]
    assert midi.from_bytes(data, "this").program.tolist() == [0x21, 0x38]
    assert not smf.suspicious(file(b"\0\xc2\x21" + notes(2), b"\0\xc3\x38" + notes(3)))


def test_independent_sequences_follow_one_another() -> None:
    slow = b"\0\xff\x51\x03\x0f\x42\x40"
    parsed = smf.parse(file(slow + notes(), notes(), format=2))
    assert [tick for tick, _, _ in sounding(parsed.notes)] == [480 * i for i in range(8)]
    tempos = [m for m in smf.messages(smf.split(parsed.notes).tracks[0]) if m.data[0] == smf.TEMPO]
    assert [(m.tick, int.from_bytes(m.data[1:], "big")) for m in tempos][-1] == (1920, 500_000)


@pytest.mark.parametrize("end", [1, 2, 3, 5, 6, 7, 8])
def test_a_track_that_ends_inside_of_a_message_is_refused(end: int) -> None:
    with pytest.raises(ValueError, match="inside of a message"):
        smf.messages(notes(count=1)[:end])
