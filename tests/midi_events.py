"""The events of MIDI files, as another program reads them."""

import collections
import io

import mido

_FIELDS = {
    "note_on": ("note", "velocity"),
    "control_change": ("control", "value"),
    "pitchwheel": ("pitch",),
    "program_change": ("program",),
    "set_tempo": ("tempo",),
    "time_signature": ("numerator", "denominator"),
    "key_signature": ("key",),
    "track_name": ("name",),
    **dict.fromkeys(("lyrics", "marker", "text", "copyright", "cue_marker"), ("text",)),
}


def events(data: bytes, kinds=_FIELDS) -> collections.Counter:
    """Each event of a file by kind, tick and value, and how often it is there.

    Of several tempos or meters at one tick the last counts. Channels are left out, since another
    file may number them differently.
    """
    found = collections.Counter()
    last = {}
    for track in mido.MidiFile(file=io.BytesIO(data), clip=True).tracks:
        tick = 0
        for message in track:
            tick += message.time
            kind = message.type
            if kind not in kinds or (kind == "note_on" and not message.velocity):
                continue
            value = tuple(getattr(message, field) for field in _FIELDS[kind])
            if kind in ("set_tempo", "time_signature"):
                last[kind, tick] = value
            else:
                found[kind, tick, value] += 1
    found.update((kind, tick, value) for (kind, tick), value in last.items())
    return found
