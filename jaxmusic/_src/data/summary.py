"""The summary of a preparation: what was read, kept and left out, and how it turned out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from jaxmusic._src.data import cleaning
from jaxmusic._src.data.examine import Kept
from jaxmusic._src.music.piece import Losses


@dataclasses.dataclass
class Summary:
    """What `prepare` did; the numbers speak of kept pieces unless they say otherwise.

    Attributes:
      name, version, path: the dataset.
      fingerprint: hash of what it was made from; the same again makes nothing new.
      content: hash of all records in their order.
      files: files read.
      pieces: pieces kept.
      songs: different songs among them.
      skipped: files left out, by reason.
      splits: pieces of each split.
      split_notes: their notes.
      notes, tokens: in all; tokens in the default codec.
      hours: sounding time.
      fill: share of packed rows that holds tokens, at the default context.
      grids: pieces by where their beat grid comes from.
      file_error_ms, error_ms: mean distance of onsets from the nearest 12th of a beat in
        milliseconds, on the files' own quarters and on the grid in use, mean over pieces.
      losses: notes that the default codec's grid changes.
      off_grid: pieces kept though no grid fits their notes.
      refused: pieces whose labelled beats fit worse than those of their notes, which they got.
      empty_tracks: tracks with too few notes, which were taken out.
      unknown_labels: rows of a table of labels whose files are not there.
      left_split: pieces of an official split that are left out, because they are copies or
        near-duplicates of others.
      kept_twins: near-duplicates of held-out pieces in other official splits, which were kept.
      missing: pieces without labels of each kind, see `LABELS`.
      styles: styles that pieces have.
      licence, citation: of a named dataset.
      report: the file that names each skipped file, or empty.
      is_new: False if the dataset was there already.
    """

    name: str = ""
    version: str = ""
    path: str = ""
    fingerprint: str = ""
    content: str = ""
    files: int = 0
    pieces: int = 0
    songs: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    splits: dict[str, int] = dataclasses.field(default_factory=dict)
    split_notes: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: int = 0
    tokens: int = 0
    hours: float = 0.0
    fill: float = 0.0
    grids: dict[str, int] = dataclasses.field(default_factory=dict)
    file_error_ms: float = 0.0
    error_ms: float = 0.0
    losses: Losses = dataclasses.field(default_factory=Losses)
    off_grid: int = 0
    refused: int = 0
    empty_tracks: int = 0
    unknown_labels: int = 0
    left_split: int = 0
    kept_twins: int = 0
    missing: dict[str, int] = dataclasses.field(default_factory=dict)
    styles: list[str] = dataclasses.field(default_factory=list)
    licence: str = ""
    citation: str = ""
    report: str = ""
    is_new: bool = True

    @property
    def tokens_per_note(self) -> float:
        """Tokens per note in the default codec."""
        return self.tokens / max(self.notes, 1)

    def count(self, kept: Kept, off_grid: bool) -> None:
        """Counts a piece."""
        self.pieces += 1
        self.notes += kept.metadata.notes
        self.tokens += kept.tokens
        self.hours += kept.metadata.seconds / 3600
        self.losses = self.losses + kept.losses
        self.off_grid += off_grid
        self.refused += kept.refused
        self.empty_tracks += kept.empty_tracks
        fit = kept.fit
        self.error_ms += (fit.error_ms - self.error_ms) / self.pieces
        self.file_error_ms += (fit.file_error_ms - self.file_error_ms) / self.pieces
        self.grids[fit.source] = self.grids.get(fit.source, 0) + 1
        self.styles = sorted({*self.styles, *kept.metadata.styles})
        for label in LABELS:
            if label not in kept.metadata.controls:
                self.missing[label] = self.missing.get(label, 0) + 1

    def to_json(self) -> str:
        """Returns the summary as JSON, for the dataset's folder."""
        values = dataclasses.asdict(self)
        for name in _NOT_STORED:
            del values[name]
        return json.dumps(values, indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: str, report: str) -> Summary:
        """Makes the summary of an existing dataset from its parsed JSON."""
        stored = values | {"losses": Losses(**_fields(Losses, values.get("losses", {})))}
        return cls(**_fields(cls, stored) | {"path": path, "report": report, "is_new": False})

    def __str__(self) -> str:
        """Returns the summary as a table that says what can be done."""
        splits = ", ".join(f"{n:,} {split}" for split, n in self.splits.items())
        skipped = sorted(self.skipped.items(), key=lambda item: -item[1])
        left_out = [f"{count:,}  {cleaning.with_remedy(reason)}" for reason, count in skipped]
        grids = ", ".join(f"{n:,} from {_GRIDS.get(g, g)}" for g, n in self.grids.items())
        missing = [
            f"{label}: {self.missing[label]:,} of {self.pieces:,} pieces have none; {words}"
            for label, words in LABELS.items()
            if label in self.missing
        ]
        left_split = (
            f"{self.left_split:,} pieces left their official split as copies or near-duplicates: "
            "--keep-splits keeps it whole"
        )
        kept_twins = (
            f"official splits are whole: {self.kept_twins:,} pieces are near-duplicates of "
            "held-out ones in another split"
        )
        refused = (
            f"beat labels of {self.refused:,} pieces fit worse than the beats of their notes, "
            "which were used"
        )
        unknown = (
            f"{self.unknown_labels:,} rows of the labels name files that are not there: write "
            "paths as in skipped.tsv"
        )
        off_grid = (
            f"no beat grid fits {self.off_grid:,} pieces that were kept: train on them with the "
            "performance codec"
        )
        rows: list[tuple[str, Sequence[str]]] = [
            ("files read", [f"{self.files:,}"]),
            ("pieces kept", [f"{self.pieces:,} of {self.songs:,} songs ({splits})"]),
            ("left out", left_out),
            ("", [f"each is named in {self.report}"] * bool(self.report)),
            ("splits", [left_split] * bool(self.left_split)),
            ("splits", [kept_twins] * bool(self.kept_twins)),
            ("splits", ["there is no training split"] * ("train" not in self.splits)),
            ("music", [f"{self.hours:,.1f} hours, {self.notes:,} notes, {self.tokens:,} tokens"]),
            ("beats", [grids, *[refused] * bool(self.refused)]),
            (
                "timing",
                [
                    f"notes begin {self.error_ms:.1f} ms off the grid on average "
                    f"({self.file_error_ms:.1f} ms off the files' own beats)",
                    f"rounding to the grid changes {_lost(self.losses)}",
                ],
            ),
            ("empty tracks", [f"{self.empty_tracks:,} taken out"] * bool(self.empty_tracks)),
            ("styles", [", ".join(self.styles) or "none"]),
            ("missing", missing),
            ("licence", [self.licence] * bool(self.licence)),
            ("warning", [unknown] * bool(self.unknown_labels)),
            ("warning", [off_grid] * bool(self.off_grid)),
        ]
        state = "prepared" if self.is_new else "already prepared, nothing was changed"
        lines = [f"Dataset {self.name} {self.version}: {state}", self.path]
        for label, texts in rows:
            lines += [f"  {'' if i else label:<14}{text}" for i, text in enumerate(texts)]
        return "\n".join(lines)


def _fields(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {f.name: values[f.name] for f in dataclasses.fields(kind) if f.name in values}


def _lost(losses: Losses) -> str:
    """Describes losses, as in ``0.12% of notes (310 merged, 25 cut); 1,024 share a slot``."""
    counts = {
        "merged": losses.duplicate,
        "cut": losses.cut,
        "drums out of range": losses.drum_pitch,
    }
    parts = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    text = f"{losses.share:.2%} of notes" + (f" ({parts})" if parts else "")
    return text + (f"; {losses.regrouped:,} share a slot" if losses.regrouped else "")


_NOT_STORED = ("path", "report", "is_new")  # a dataset may be moved
_GRIDS = {"file": "the files", "estimate": "the notes (estimated)", "labels": "labels"}
_INFERRED = "they are inferred from pitched notes, unless --no-harmony is set"
LABELS = {
    "styles": "--style, --style-from-folders or --labels gives them",
    "key": _INFERRED,
    "chords": _INFERRED,
    "sections": 'markers in the files, such as "Verse 1", give them',
}
"""Controls that pieces may lack, and where they come from."""
