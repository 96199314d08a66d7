"""Settings of preparing a dataset."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Settings of preparing a dataset from files."""

    name: str = ""
    """Name of the dataset; empty: that of the named dataset, or music."""
    style: str = ""
    """Style given to every piece, e.g. pop; empty for none."""
    style_from_folders: bool = False
    """Use the top folder of each piece, inside its source, as its style."""
    labels: str = ""
    """CSV file with the columns path (inside the source), style (several separated by ;) and
    optionally song (same song, same split) and split (train, validation or test)."""
    where: str = ""
    """Keep only pieces that match, e.g. "style=pop tempo=90..140 has=drums"; empty keeps all."""
    manual_dir: str = ""
    """Folder with the files of a named dataset; empty: download them."""
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
    """Pieces with a longer pitched note are skipped, because its end is missing."""
    min_track_notes: int = 1
    """Tracks with fewer notes are removed from a piece."""
    need_drums: bool = False
    """Skip pieces without drums."""
    max_onset_error: float = 0.2
    """Pieces whose onsets lie further, on average, from the even subdivision of the beat that fits
    them best (2, 3, 4, 6 or 12 steps) are skipped; as a share of its step. Notes spread evenly over
    time have 0.25."""
    off_grid: str = "skip"
    """What to do with such pieces, mostly performances: skip them, or keep them on the best grid
    and count them in the summary. The performance codec needs no grid."""
    harmony: bool = True
    """Infer chords and keys of pieces without labels for them."""
    sustain: bool = False
    """Lengthen notes by the sustain pedal."""
    file_timeout: float = 20.0
    """Seconds after which reading a file is given up."""
    beam_runner: str = ""
    """Apache Beam runner that reads the files, e.g. DirectRunner; empty: worker processes."""
