"""MusicXML and ABC to notes, and notes to MusicXML."""
