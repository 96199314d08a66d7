"""Files in and out: MIDI, sound and pictures."""
