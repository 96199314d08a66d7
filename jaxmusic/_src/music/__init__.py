"""Notes, pieces, beats, bars, chords and keys."""
