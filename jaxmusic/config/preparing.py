"""Settings of preparing a dataset."""

from __future__ import annotations

import dataclasses

from jaxmusic.config.fields import COUNT, WORKERS, Settings, number


@dataclasses.dataclass(frozen=True)
class Prepare(Settings):
    """Settings of preparing a dataset from files."""

    name: str = ""
    """Name of the dataset; empty: name of the public dataset, or music."""
    style: str = ""
    """Style given to every piece, e.g. pop; empty for none."""
    style_from_folders: bool = False
    """Use the top folder of each piece, inside its source, as its style."""
    labels: str = ""
    """CSV file with the columns path (inside the source), style (several separated by ;) and
    optionally song (all versions of a song share a split) and split (train, validation or test)."""
    where: str = ""
    """Keep only pieces that match, e.g. "style=pop tempo=90..140 has=drums"; empty keeps all."""
    manual_dir: str = ""
    """Folder with the files of a public dataset; empty: download them."""
    data_dir: str = "~/jaxmusic/data"
    """Folder that holds the datasets, on local disk or in a bucket (gs://, s3://)."""
    workers: int = number(0, WORKERS)
    """Worker processes; 0 is one per core."""
    validation: float = number(0.05, "[0, 1]")
    """Share of songs in the validation split, of those without an official split."""
    test: float = number(0.05, "[0, 1]")
    """Share of songs in the test split, likewise. Shares that add up to 1 leave no training split,
    and official splits do not count: --validation 0 --test 1 makes a pure test set."""
    keep_splits: bool = False
    """Keep official splits whole. Otherwise near-duplicates and copies of held-out pieces are left
    out of them."""
    json_step: str = ""
    """Note value of the time steps of piano rolls in JSON: 16th, 8th or quarter; empty: as the name
    of the file says."""
    min_notes: int = number(32, COUNT)
    """Skip pieces with fewer notes."""
    min_seconds: float = number(5.0, "[0, inf)")
    """Skip shorter pieces."""
    max_seconds: float = number(3600.0, "(0, inf)")
    """Skip longer pieces."""
    min_pitches: int = number(2, COUNT)
    """Skip pieces with fewer different pitches; each drum counts as one."""
    max_density: float = number(120.0, "(0, inf)")
    """Skip pieces with more notes per second, on average."""
    max_note_seconds: float = number(90.0, "(0, inf)")
    """Skip pieces with a longer pitched note, because its end is missing."""
    min_track_notes: int = number(1, COUNT)
    """Remove tracks with fewer notes from a piece."""
    need_drums: bool = False
    """Skip pieces without drums."""
    max_onset_error: float = number(0.2, "[0, 1]")
    """Skip pieces with a larger mean distance of onsets from the grid, as a share of a step. The
    grid is the even subdivision of the beat that fits best (2, 3, 4, 6 or 12 steps). Onsets spread
    evenly over time have 0.25."""
    off_grid: str = "skip"
    """Treatment of pieces off the grid, mostly performances: skip, or keep (on the best grid,
    counted in the summary). The performance codec needs no grid."""
    harmony: bool = True
    """Infer chords and keys of pieces without labels."""
    sustain: bool = False
    """Lengthen notes by the sustain pedal."""
    file_timeout: float = number(20.0, "(0, 1000000]")
    """Seconds after which a file that is being read is skipped."""
    beam_runner: str = ""
    """Apache Beam runner that reads the files, e.g. DirectRunner; empty: worker processes."""
