"""Commands that measure models and songs: evaluate and compare."""

from __future__ import annotations

from typing import Annotated

import tyro

from jaxmusic import config
from jaxmusic._src.commands import checks
from jaxmusic._src.commands.options import grouped
from jaxmusic._src.core.errors import UserError


@grouped
def evaluate(
    model: Annotated[str, tyro.conf.arg(metavar="RUN")] = "",
    data: Annotated[str, tyro.conf.arg(metavar="DATASET")] = "",
    data_dir: Annotated[str, tyro.conf.arg(metavar="DIR")] = "",
    songs: Annotated[str, tyro.conf.arg(metavar="DIR")] = "",
    reference: Annotated[str, tyro.conf.arg(metavar="DIR")] = "",
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "report",
    options: config.Evaluation = config.Evaluation(),  # noqa: B008
    sampling: config.Sampling = config.Sampling(),  # noqa: B008
) -> None:
    """Reports how close a model, or any set of songs, is to real music.

    With --model, pieces composed by the model are compared with the songs that it was trained on.
    Held-out songs measure how well it predicts music, how well it follows controls, and how much
    real songs share with one another. With --songs, songs from any source are compared with those
    of --reference. Both write report.json and a self-contained report.html into a folder. Files
    that cannot be read are skipped and named.

    With --model and --data, the likelihood of every split of any prepared dataset is measured
    under the model and written to likelihood.json. Labels that the model was not trained with are
    dropped, which is said.

    Examples:
      jaxmusic evaluate --model runs/pop --out runs/pop/report
      jaxmusic evaluate --model runs/pop --split test --pieces 100 --temperature 0.9
      jaxmusic evaluate --model runs/pop --data folk
      jaxmusic evaluate --songs samples --reference ~/midi/pop --out report

    Args:
      model: folder of a run, or a file that jaxmusic export wrote.
      data: prepared dataset to measure the likelihood of, in place of a report on the model.
      data_dir: folder that holds datasets; by default the one that the run used.
      songs: folder, file or quoted glob of MIDI, MusicXML and ABC to report on, instead of a model.
      reference: folder, file or quoted glob of the real music to compare these songs with.
      out: folder for the report; an older report in it is replaced.
      options: what is composed and measured.
      sampling: how the model's tokens are drawn.
    """
    if bool(model) == bool(songs):
        raise UserError("Give --model RUN, or --songs DIR with --reference DIR.")
    if bool(songs) != bool(reference):
        raise UserError("Give --songs and --reference together: one is compared with the other.")
    if songs and (data or data_dir):
        raise UserError("Leave out --data and --data-dir: they apply to --model only.")
    if "/" in data:
        raise UserError(
            f"Give --data the name of a prepared dataset, and --data-dir its folder, not {data}."
        )
    checks.outputs([out], folder=True)
    from jaxmusic._src.reports import gather, writing

    if not data:
        gather.check(options)
    if model:
        from jaxmusic._src.generate import draws

        able = checks.model(model, options.step)
        draws.settings(sampling, able.codec.vocabulary)
        if data:
            checks.dataset(data, data_dir or able.data.data_dir)
        from jaxmusic._src.train.compilation import keep_compiled

        keep_compiled()
    if data:
        _likelihoods(model, data, data_dir, options, out)
        return
    if model:
        found = gather.of_model(model, data_dir, options, sampling)
    else:
        found = gather.of_songs(songs, reference, options)
    written = writing.write(found, out)
    print("\n".join(f"  {line}" for line in found.report["verdict"]["lines"]))
    for path in written:
        print(f"wrote {path}")


def _likelihoods(
    model: str, data: str, data_dir: str, options: config.Evaluation, out: str
) -> None:
    """Measures the likelihood of a dataset, prints it and writes it."""
    import pathlib

    from jaxmusic._src.formats.saving import save
    from jaxmusic._src.reports import likelihoods, writing

    found = likelihoods.of_dataset(model, data, data_dir, options)
    path = pathlib.Path(out).expanduser() / likelihoods.FILE
    save(path, writing.to_json(found).encode())
    print(f"{likelihoods.as_text(found)}\nwrote {path}")


def compare(
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "",
) -> None:
    """Compares runs: their settings, learning curves and reports.

    The report of a run is read from its folder report, where
    jaxmusic evaluate --model RUN --out RUN/report writes it. Folders of reports, also of reports on
    songs from other sources, can be named in place of runs. Bits are compared only at equal
    resolution and on the same songs.

    Examples:
      jaxmusic compare runs/small runs/large
      jaxmusic compare runs/pop reports/others --out comparison.html

    Args:
      runs: folders of runs or of reports.
      out: page to write the comparison to, ending in .html.
    """
    checks.compared(runs)
    if out and not out.endswith(".html"):
        raise UserError(f"Name a page that ends in .html, not {out}.")
    if out:
        checks.outputs([out])
    from jaxmusic._src.formats.saving import save
    from jaxmusic._src.reports import compare as comparing

    found = comparing.entries(runs)
    print(comparing.as_text(found))
    if out:
        save(out, comparing.as_html(found).encode())
        print(f"wrote {out}")
