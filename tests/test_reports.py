"""Reports: on songs in files, on a model, and runs side by side."""

import html.parser
import json
import re
import shutil

import data_music
import numpy as np
import pytest

from jaxmusic import config
from jaxmusic._src.commands.cli import main
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import sources, starter
from jaxmusic._src.evaluate import control
from jaxmusic._src.evaluate.statistics import STATISTICS
from jaxmusic._src.formats import files, midi
from jaxmusic._src.generate import instruments
from jaxmusic._src.music import beats, grid, harmony
from jaxmusic._src.music.notes import make_notes
from jaxmusic._src.reports import compare, figures, gather, plots, sets, text, verdict, writing

BAR = 1920
QUICK = ["--pieces", "1", "--duration", "0:08", "--requests", "2", "--request-duration", "0:06"]
QUICK += ["--shown", "1", "--most", "8"]


class Page(html.parser.HTMLParser):
    """What a reader finds: tags in pairs, pictures with words, tables with headings, no links."""

    EMPTY = ("meta", "img", "br", "path", "use", "image", "rect", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.text, self.anchors = [], [], [], "", []
        self.files = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in self.EMPTY:
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = found.get(name, "#")
            beside = re.fullmatch(r"pieces/[a-z]+-\d\d\.(mid|wav)", value)
            assert value.startswith(("#", "data:")) or beside, value
            self.files += [value] if beside else []
        if tag == "a" and found["href"].startswith("#"):
            self.anchors.append(found["href"][1:])
        assert not any(name.startswith("on") for name in found)
        if tag == "img":
            assert found["alt"]
        if tag == "svg":
            assert found["role"] == "img" and found["aria-label"]
        if tag == "th":
            assert found["scope"] in ("col", "row")
        if "id" in found:
            self.ids.append(found["id"])

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)
        if self.open and self.open[-1] not in ("style",):
            self.text += data


def read(folder):
    """A report as JSON, strictly read, and its page, which holds what it must."""

    def refuse(name):
        raise AssertionError(f"{name} in the JSON")

    report = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    text = (folder / "report.html").read_text()
    shown = Page(text)
    assert len(shown.ids) == len(set(shown.ids))
    assert set(shown.anchors) <= set(shown.ids)
    assert all((folder / name).stat().st_size for name in shown.files)
    assert ">None<" not in text
    assert not re.search(r"\b(nan|inf)\b", shown.text, re.IGNORECASE)
    assert "http" not in text
    return report, shown


def song(number):
    return data_music.tune(number, bars=12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of songs that are hard to measure, and one of reference."""
    home = tmp_path_factory.mktemp("songs")
    for i in range(6):
        files.write(song(i), home / "reference" / f"tune{i}.mid")
    odd = home / "odd"
    files.write(song(0), odd / "copy <b>&.mid")
    files.write(make_notes([0], [BAR], [60], [80], [0], end=BAR), odd / "one note.mid")
    hits = np.arange(0, 4 * BAR, 480)
    drums = make_notes(
        hits, hits * 0 + 60, hits * 0 + 36, hits * 0 + 90, hits * 0, drum=[True], end=4 * BAR
    )
    files.write(drums, odd / "drums.mid")
    (odd / "broken.mid").write_bytes(b"MThd\0\0\0\6garbage")
    (odd / "none.abc").write_bytes(b"\0\xff")
    (home / "empty").mkdir()
    return home


@pytest.fixture(scope="module")
def odd(folders):
    """The report on the songs that are hard to measure."""
    out = folders / "report"
    evaluate("--songs", folders / "odd", "--reference", folders / "reference", "--out", out)
    return read(out)


def evaluate(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    assert ended.value.code == 0


def test_files_that_cannot_be_read_are_skipped_and_named(odd):
    report, shown = odd
    assert report["sets"]["ours"]["songs"] == 3 and report["sets"]["real"]["songs"] == 6
    skipped = {file["name"]: file["reason"] for file in report["sets"]["ours"]["skipped"]}
    assert skipped == {"broken.mid": "cannot be read", "none.abc": "cannot be read"}
    assert "broken.mid" in shown.text and "copy <b>&.mid" in shown.text


def test_every_statistic_stands_there_with_its_meaning_and_its_floor(odd):
    report, shown = odd
    assert set(report["statistics"]) == set(STATISTICS)
    for row in report["statistics"].values():
        assert row["meaning"] in shown.text
        assert set(row["distance"]) == set(row["floor"]) == {"difference", "divergence", "overlap"}
    assert report["statistics"]["pitches"]["pieces"] == 2  # drums have none
    assert report["values"]["ours"]["names"] == ["copy <b>&.mid", "drums.mid", "one note.mid"]
    assert report["values"]["ours"]["pitches"][1:] == [None, 1]
    assert "not defined" in shown.text


def judged(**changes):
    """Judges 20 pieces that differ from their reference in one statistic, or in one share."""
    spread = np.linspace(-1, 1, 20)
    sides = {"ours": 20, "real": 20} | changes.pop("songs", {})
    values = {
        side: {name: (10 + spread[:count]).tolist() for name in verdict.ASPECTS}
        for side, count in sides.items()
    }
    share = {"tonic": 0.9, "copied": 0.0, "songs": 20}
    shares = {"ours": dict(share), "real": share}
    for name, value in changes.items():
        if name in share:
            shares["ours"][name] = value
        else:
            values["ours"][name] = list(value)
    rows = {}
    for name in verdict.ASPECTS:
        ours, real = (np.mean(values[side][name]) for side in ("ours", "real"))
        rows[name] = {"title": name, "mean": ours, "reference_mean": real}
    report = {"kind": "model", "values": values, "statistics": rows}
    report |= {"endings": shares, "originality": shares}
    found = verdict.of(report | {"sets": {s: {"songs": count} for s, count in sides.items()}})
    return found["lines"], {row["aspect"]: row["light"] for row in found["findings"]}


@pytest.mark.parametrize(
    ("changes", "aspect", "light", "words"),
    [
        ({}, "repetition", "green", "listen"),
        ({"bar_similarity_4": [8.0] * 20}, "repetition", "red", "Repeats far too little"),
        ({"tempo": 10.5 + np.linspace(-0.3, 0.3, 20)}, "tempo", "amber", "Is somewhat too fast"),
        ({"tempo": np.linspace(-3, 3, 20) + 10}, "tempo", "red", "Varies far too much"),
        ({"tonic": 0.7}, "ending", "amber", "tonic chord, 70 % against 90 %"),
        ({"tonic": 1.0}, "ending", "green", "listen"),
        ({"copied": 0.5}, "originality", "red", "Copies far too often"),
        ({"songs": {"ours": 3}}, "repetition", "none", "3 in these songs, and a finding takes 16"),
        ({"songs": {"real": 15}}, "tempo", "none", "15 in the reference"),
    ],
)
def test_the_verdict_follows_its_rule(changes, aspect, light, words):
    lines, lights = judged(**changes)
    assert words in lines[0] and lights[aspect] == light
    if "songs" not in changes:
        assert all(found == "green" for name, found in lights.items() if name != aspect)


def test_the_worst_comes_first():
    lines, _ = judged(tempo=[11.0] * 20, polyphony=[14.0] * 20, pitch_range=[12.0] * 20)
    assert [line.split(":")[0] for line in lines] == [
        *("Sounds far too thick", "Has far too wide a range", "Is far too fast")
    ]


def test_too_few_pieces_are_no_finding(odd, of_model):
    for report, shown in (odd, read(of_model)):
        assert {row["light"] for row in report["verdict"]["findings"][:3]} == {"none"}
        assert "Too few pieces" in shown.text and "16" in report["verdict"]["lines"][0]


def test_a_copy_is_found_and_shown(odd):
    report, shown = odd
    said = report["originality"]
    (copy, *others) = said["ours"]["songs"]
    assert copy["of"] == "tune0.mid" and copy["share"] == 1.0
    assert all(song["telling"] == 0 for song in others)
    assert "The longest passage" in shown.headings
    assert len(said["real"]["songs"]) == 1  # a fifth of the reference


@pytest.mark.parametrize("kept", ["one note.mid", "broken.mid"])
def test_sets_of_one_piece_or_none_have_a_report(folders, tmp_path, kept):
    (tmp_path / "songs").mkdir()
    shutil.copy(folders / "odd" / kept, tmp_path / "songs")
    same = str(tmp_path / "songs")
    options = config.Evaluation(workers=1, shown=1)
    writing.write(gather.of_songs(same, same, options, False), str(tmp_path / "report"), False)
    report, shown = read(tmp_path / "report")
    row = report["statistics"]["groove_consistency"]
    assert row["distance"] == {"difference": None, "divergence": None, "overlap": None}
    assert report["repetition"]["ours"]["likeness"]["16"] is None
    assert report["originality"]["real"]["copied"] is None
    assert "not defined" in shown.text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--songs", "{}/empty", "--reference", "{}/reference"], "There is no music file in"),
        (["--songs", "{}/odd", "--reference", "{}/nowhere"], "does not exist"),
        (["--songs", "{}/odd"], "Give --songs and --reference together"),
        ([], "Give --model RUN, or --songs DIR"),
        (["--model", "{}", "--songs", "{}/odd"], "Give --model RUN, or --songs DIR"),
        (["--songs", "{}/odd", "--reference", "{}/odd", "--data", "{}"], "Leave out --data"),
        (["--songs", "{}/odd", "--reference", "{}/odd", "--split", "train"], "--split to valid"),
        (["--songs", "{}/odd", "--reference", "{}/odd", "--most", "0"], "most"),
        (["--model", "{}/odd"], "Name the folder of a run"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(folders, tmp_path, capsys, arguments, sentence):
    words = [word.format(folders) for word in arguments]
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *words, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and sentence in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def of_model(toy_run):
    """The folder of a report on the tiny run, where compare looks for it."""
    out = toy_run / "report"
    evaluate("--model", toy_run, "--out", out, *QUICK)
    return out


def test_a_report_on_a_model_has_every_section(of_model, starter_data):
    report, shown = read(of_model)
    wanted = ["Verdict", "Listen", "Statistics", "Form", "Repetition and endings", "Control"]
    wanted += ["Originality", "Likelihood", "Learning", "How this was made"]
    assert [h for h in shown.headings if h in wanted] == wanted
    assert report["sets"]["ours"]["songs"] == 1
    assert report["run"]["step"] in (3, 6) and report["run"]["parameters"] > 0
    assert report["run"]["dataset"] == "starter:2.0.0"
    assert [step for step, _ in report["run"]["validation"]] == [3, 6]
    assert report["likelihood"]["pieces"] == report["held_out"]["songs"] > 0
    assert report["likelihood"]["figures"]["bits_per_note"]["value"] > 0
    written = sorted(path.name for path in (of_model / "pieces").iterdir())
    assert written[:3] == ["piece-01.mid", "piece-01.wav", "request-01.mid"]
    assert {"pieces/piece-01.mid", "pieces/piece-01.wav"} <= set(shown.files)
    # A piece has one name, in files, figures and plots.
    names = [song["name"] for song in report["originality"]["ours"]["songs"]]
    assert names == report["values"]["ours"]["names"] == ["piece-01"]
    assert set(report["adherence"]["pieces"]) <= {"request-01", "request-02"}
    piece = midi.read_notes(of_model / "pieces" / "piece-01.mid")
    assert float(piece.seconds(piece.end)) == pytest.approx(8, abs=0.01)


def test_what_is_built_in_is_kept_and_what_is_inferred_has_a_finder(of_model):
    report, _ = read(of_model)
    said = report["adherence"]
    assert 1 <= len(said["pieces"]) + len(said["refused"]) <= 2
    controls = said["controls"]
    assert set(controls) >= {"duration", "tempo", "meter", "instruments", "key", "chords"}
    for name in ("duration", "tempo", "meter", "instruments"):
        assert controls[name]["exact"] and controls[name]["figures"][0]["asked"] == 1
    # The starter corpus knows its chords from elsewhere than the notes.
    assert not controls["chords"]["exact"] and controls["chords"]["figures"][0]["finder"] > 0.9
    assert controls["duration"]["figures"][0]["not_asked"] is None


def test_another_dataset_of_that_name_is_refused(toy_run, tmp_path, capsys):
    from jaxmusic._src.data import builder

    options = config.Prepare(name="starter", data_dir=str(tmp_path))
    builder.prepare_pieces(starter.corpus(20), options, 20, progress=False)
    with pytest.raises(SystemExit):
        main(["evaluate", "--model", str(toy_run), "--data-dir", str(tmp_path)])
    assert "has other content" in capsys.readouterr().err


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    """A data folder that holds `other`, a test set in a style of its own."""
    from jaxmusic._src.data import builder

    folder = tmp_path_factory.mktemp("other")
    options = config.Prepare(name="other", data_dir=str(folder), validation=0.0, test=1.0)
    pieces = [data_music.tune(i, bars=12, styles=("slip jig",)) for i in range(3)]
    builder.prepare_pieces(pieces, options, 3, progress=False)
    return folder


def test_the_likelihood_of_another_dataset(toy_run, other_data, tmp_path, capsys):
    options = ["--data", "other", "--data-dir", other_data]
    evaluate("--model", toy_run, *options, "--out", tmp_path)
    said = capsys.readouterr().out
    assert "style slip jig of 3 pieces" in said and "missing" in said
    report = json.loads((tmp_path / "likelihood.json").read_text())
    assert (report["dataset"], report["trained_on"]) == ("other:2.0.0", False)
    (found,) = report["splits"].values()
    assert found["pieces"] == 3 and found["figures"]["bits_per_note"]["value"] > 0
    assert found["labels"]["styles"] == {"slip jig": 3} and not found["by_style"]


def test_every_split_of_the_training_data_has_its_likelihood(toy_run, tmp_path, capsys):
    evaluate("--model", toy_run, "--data", "starter", "--most", 1, "--out", tmp_path)
    report = json.loads((tmp_path / "likelihood.json").read_text())
    assert set(report["splits"]) >= {"train", "validation"} and report["trained_on"]
    assert {found["pieces"] for found in report["splits"].values()} == {1}
    assert "train (the model was trained on it): 1 pieces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "./other"], "--data-dir its folder"),
        (["--data", "nowhere"], "no dataset 'nowhere'"),
        (["--data", "other", "--split", "train"], "one that other has: test"),
        (["--data", "other", "--most", "0"], "most"),
    ],
)
def test_datasets_that_cannot_be_measured(toy_run, other_data, capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--model", str(toy_run), "--data-dir", str(other_data), *arguments])
    assert ended.value.code == 2 and words in capsys.readouterr().err


@pytest.fixture
def other_run(toy_run, tmp_path):
    """A run with another seed, as far as its folder says."""
    run = tmp_path / "<other>"
    run.mkdir()
    for name in ("codec.json", "data.json", "log.jsonl"):
        shutil.copy(toy_run / name, run)
    settings = json.loads((toy_run / "experiment.json").read_text())
    (run / "experiment.json").write_text(json.dumps(settings | {"seed": 3}))
    return run


def test_runs_side_by_side(of_model, toy_run, other_run, tmp_path, capsys):
    out = tmp_path / "both.html"
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(toy_run), str(other_run), str(of_model), "--out", str(out)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "seed" in said and "warmup" not in said
    assert "validation loss" in said and "bits per note" in said
    shown = Page(out.read_text())
    assert "<other>" in shown.text and "Settings" in shown.headings
    assert "http" not in out.read_text()


def test_bits_of_other_songs_are_not_compared(of_model, tmp_path):
    report = json.loads((of_model / "report.json").read_text())
    report["likelihood"]["notes"] += 1
    report["run"]["name"] = "changed"
    (tmp_path / "report.json").write_text(json.dumps(report))
    found = compare.entries([str(of_model), str(tmp_path)])
    table = next(t for t in compare.tables(found) if t.title == "Likelihood")
    assert table.note.startswith("Not comparable. Evaluate toy and changed on the same pieces")
    assert table.rows == [("bits", "not comparable", "not comparable")]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["toy"], "Name at least two runs"),
        (["toy", "nowhere"], "holds neither"),
        (["toy", "toy"], "Name each run once"),
        (["toy", "old"], "of another version"),
        (["toy", "text"], "is no JSON"),
    ],
)
def test_what_cannot_be_compared_is_refused(toy_run, tmp_path, names, sentence):
    for name, content in (("old", '{"version": 0}'), ("text", "words")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(content)
    places = {"toy": str(toy_run)}
    with pytest.raises(UserError, match=sentence):
        compare.entries([places.get(name, str(tmp_path / name)) for name in names])


def test_a_song_is_asked_for_as_it_is():
    notes = next(iter(starter.corpus(1)))
    found = control.of_song(notes)
    assert set(found) == {"tempo", "meter", "instruments", "density", "key", "chords"}
    for name in ("tempo", "meter", "instruments", "density"):
        value = control.FIGURES[name][0].of(notes, found[name].truth)
        assert value == pytest.approx(0 if name == "density" else 1, abs=1e-9), name
    chords = grid.quantise(notes)[0].chord
    assert found["chords"].truth.tolist() == chords[: 2 * control.BARS].tolist()


def test_as_many_instruments_are_asked_for_as_a_song_has():
    columns = ([0] * 3, [BAR] * 3, [60, 64, 36], [80] * 3, [0, 1, 2])
    notes = make_notes(*columns, program=[0, 0, 35], drum=[False] * 3)
    request = control.of_song(notes)["instruments"]
    assert request.fields == {"instruments": "2 Acoustic Grand Piano, Fretless Bass"}
    assert control.FIGURES["instruments"][0].of(notes, request.truth) == 1
    assert instruments.read(request.fields["instruments"]).slots == ({0}, {0}, {35})


def test_chords_that_were_found_in_the_notes_tell_nothing_of_the_finder():
    songs = [beats.align(song(i))[0] for i in range(3)]
    assert control.finder("chords", songs) == [None, None]
    inferred = [harmony.with_harmony(notes) for notes in songs]
    assert control.finder("chords", inferred) == [None, None]
    assert control.finder("chords", list(starter.corpus(4)))[0] > 0.9


def test_numbers_that_json_lacks_are_not_defined():
    found = figures.plain({1: np.float64("nan"), "a": (np.inf, np.int64(3), np.ones(2) / 3)})
    assert found == {"1": None, "a": [None, 3, [0.333333, 0.333333]]}
    assert text.number(None) == "not defined"
    said = [text.number(x) for x in (-0.00012, 7e-15, 12345.6, 3, 0.25)]
    assert said == ["−0.00012", "0", "12,346", "3", "0.25"]
    assert text.clock(3725) == "1:02 h" and text.clock(65.2) == "1:05 min"


def test_of_many_songs_some_are_drawn(folders):
    options = config.Evaluation(most=2, workers=1)
    files = sources.find([str(folders / "reference")])
    assert len(sets.read(files, "songs", options)) == 2 < len(files)
    assert sets.drawn(range(10), 3, 0) == sets.drawn(range(10), 3, 0)


def test_the_same_songs_are_not_told_apart_and_have_the_same_report(folders):
    options = config.Evaluation(workers=1)
    same = str(folders / "reference")
    found = [gather.of_songs(same, same, options, progress=False).report for _ in range(2)]
    report = json.loads(writing.to_json(found[0]))
    assert report == found[0] == found[1]
    for row in report["statistics"].values():
        assert (row["distance"]["difference"] or 0) == pytest.approx(0, abs=1e-9)
    values = [float(i) for i in range(9)]
    one, other = (plots.distribution(values, values, "x") for _ in range(2))
    assert one == other and one.startswith("data:image/svg+xml;base64,")
