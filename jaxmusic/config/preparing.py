"""How music becomes a dataset."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Prepare:
    """How music files become a dataset."""

    name: str = ""
    """Name of the dataset that is made; empty: that of the named dataset, or music."""
    style: str = ""
    """Style given to every piece, e.g. pop; empty for none."""
    style_from_folders: bool = False
    """Give each piece the name of the top folder it lies in, inside of its source, as a style."""
    labels: str = ""
    """CSV file with the columns path (inside of the source), style (several separated by ;) and
    perhaps song (same song, same split) and split (train, validation or test)."""
    where: str = ""
    """Keep only pieces that match, e.g. "style=pop tempo=90..140 has=drums"; empty keeps all."""
    manual_dir: str = ""
    """Folder that holds a named dataset already; empty: it is downloaded."""
    data_dir: str = "~/jaxmusic/data"
    """Folder that holds the datasets, on local disk or in a bucket (gs://, s3://)."""
    workers: int = 0
    """Worker processes; 0 is one for each core."""
    validation: float = 0.05
    """Share of songs in the validation split."""
    test: float = 0.05
    """Share of songs in the test split."""
    min_notes: int = 32
    """Pieces with fewer notes are skipped."""
    min_seconds: float = 5.0
    """Shorter pieces are skipped."""
    max_seconds: float = 3600.0
    """Longer pieces are skipped."""
    min_pitches: int = 2
    """Pieces with fewer different pitches are skipped; each drum counts as one."""
    max_density: float = 120.0
    """Pieces with more notes a second, on average, are skipped."""
    max_note_seconds: float = 90.0
    """Pieces with a pitched note that lasts longer are skipped: its end got lost."""
    min_track_notes: int = 1
    """Tracks with fewer notes are taken out of a piece."""
    need_drums: bool = False
    """Skip pieces without drums."""
    max_onset_error: float = 0.2
    """Pieces whose onsets lie further, on average, from the even subdivision of the beat that fits
    them best (2, 3, 4, 6 or 12 steps) are skipped; as a share of its step. Notes spread evenly over
    time have 0.25."""
    off_grid: str = "skip"
    """What becomes of such pieces, performed ones for the most part: skip leaves them out, keep
    puts them on the best grid there is and counts them in the summary. The performance codec needs
    no grid."""
    harmony: bool = True
    """Find chords and keys in the notes of pieces that have no labels for them."""
    sustain: bool = False
    """Lengthen notes by the sustain pedal."""
    file_timeout: float = 20.0
    """Seconds after which a file that is still being read is given up."""
    beam_runner: str = ""
    """Apache Beam runner that reads the files, e.g. DirectRunner; empty: worker processes."""
