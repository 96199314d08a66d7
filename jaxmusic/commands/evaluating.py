"""Commands that say how good it is: evaluate and compare."""

from __future__ import annotations

import sys
from typing import Annotated

import tyro

from jaxmusic import config
from jaxmusic.core.errors import UserError


def evaluate(
    model: Annotated[str, tyro.conf.arg(metavar="RUN")] = "",
    data: Annotated[str, tyro.conf.arg(metavar="DIR")] = "",
    songs: Annotated[str, tyro.conf.arg(metavar="DIR")] = "",
    reference: Annotated[str, tyro.conf.arg(metavar="DIR")] = "",
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "report",
    options: Annotated[config.Evaluation, tyro.conf.arg(name="")] = config.Evaluation(),  # noqa: B008
    sampling: Annotated[config.Sampling, tyro.conf.arg(name="")] = config.Sampling(),  # noqa: B008
) -> None:
    """Reports how near a model, or any set of songs, comes to real music.

    Of a model: it composes, and what it composes is compared with the songs that it was trained on;
    songs that were held out say how well it foretells music, whether it does what it is asked for,
    and how much real songs share with each other. Of songs, from whatever maker: they are compared
    with a reference. Both write report.json and report.html into a folder; the page needs nothing
    else. Files that cannot be read are skipped and named.

    For example:

    jaxmusic evaluate --model runs/pop --out runs/pop/report

    jaxmusic evaluate --model runs/pop --split test --pieces 100 --temperature 0.9

    jaxmusic evaluate --songs samples --reference ~/midi/pop --out report

    Args:
      model: folder of a run, or a file that jaxmusic export wrote.
      data: folder that holds the dataset of the run; the one that the run used if absent.
      songs: folder, file or quoted glob of MIDI, MusicXML and ABC to report on, instead of a model.
      reference: likewise, the real music that these songs are compared with.
      out: folder for the report; an older report in it is replaced.
      options: what is composed and measured.
      sampling: how the model's tokens are drawn.
    """
    if bool(model) == bool(songs):
        raise UserError("Give --model RUN, or --songs DIR with --reference DIR.")
    if bool(songs) != bool(reference):
        raise UserError("Give --songs and --reference together: songs are compared with others.")
    if songs and data:
        raise UserError("Leave out --data: it goes with --model.")
    from jaxmusic.reports import gather, terminal, writing

    if model:
        from jaxmusic.train.compilation import keep_compiled

        keep_compiled()
        found = gather.of_model(model, data, options, sampling)
    else:
        found = gather.of_songs(songs, reference, options)
    written = writing.write(found, out)
    print(terminal.summed(found.report))
    for path in written:
        print(f"wrote {path}")


def compare(
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "",
) -> None:
    """Puts runs side by side: what differs, how they learned, what their reports say.

    A report is looked for in the folder report of a run, where
    jaxmusic evaluate --model RUN --out RUN/report puts it. Folders of reports can be named in place
    of runs, and so can reports on songs of other makers. Bits are compared at equal resolution and
    on the same songs alone.

    For example:

    jaxmusic compare runs/small runs/large

    jaxmusic compare runs/pop reports/others --out comparison.html

    Args:
      runs: folders of runs or of reports.
      out: also write the comparison as a page, ending in .html.
    """
    if out and not out.endswith(".html"):
        raise UserError(f"Name a page that ends in .html, not {out}.")
    from jaxmusic.formats.saving import save
    from jaxmusic.reports import compare as comparing
    from jaxmusic.reports import terminal

    found = comparing.entries(runs)
    print(terminal.compared(found, (sys.stdout.encoding or "").lower().startswith("utf")))
    if out:
        save(out, comparing.html(found).encode())
        print(f"wrote {out}")
