"""JSON from outside: whatever it holds, the answer is the content or one sentence."""

import copy
import functools
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from jaxmusic._src import model
from jaxmusic._src.core import leases
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import catalog, local_cache
from jaxmusic._src.data.pieces import Stored
from jaxmusic._src.reports import compare
from jaxmusic._src.runs import checkpoint, described, status, weights
from jaxmusic._src.runs import folder as runs

DEEP = "[" * 1000 + "]" * 1000
WHOLE = {
    "missing": None,
    "empty": b"",
    "no JSON": b"<html>404</html>",
    "a list": b"[1, 2]",
    "a number": b"3",
    "nested": DEEP.encode(),
    "nested objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "binary": bytes(range(256)),
    "a byte order mark": b"\xff\xfe{}",
}
"""What a file may hold instead; None for no file."""
PARTS = [None, True, "x", [], {}, [[1]], -1, 0, 1.5, 10**400]
"""Values that stand in the place of another."""


def places(value, at=()):
    """The places of all values in a JSON value, of lists those of the first two."""
    pairs = value.items() if isinstance(value, dict) else ()
    for name, part in enumerate(value[:2]) if isinstance(value, list) else pairs:
        yield (*at, name)
        yield from places(part, (*at, name))


def changed(value):
    """A JSON value with each of its parts left out or replaced; and what was done."""
    for *at, last in places(value):
        for part in ("left out", *PARTS):
            out = copy.deepcopy(value)
            inside = out
            for name in at:
                inside = inside[name]
            if part == "left out":
                del inside[last]
            else:
                inside[last] = part
            yield f"{[*at, last]} {str(part)[:20]}", out


def tampered(text):
    """Contents by what was done to them: another whole, a part of it, another part in it."""
    yield from WHOLE.items()
    yield "cut off", text[: len(text) // 2]
    for done, value in changed(json.loads(text)):
        yield done, json.dumps(value).encode()


def refused(read, named, done):
    """Whether an input is refused, in one sentence that names it; anything else is raised."""
    try:
        read()
    except UserError as error:
        assert "\n" not in str(error) and named in str(error), (done, str(error))
        return True
    except BaseException as error:
        raise AssertionError(f"{done}: {error!r}") from error
    return False


def survives(path, read, text=None):
    """Tries all contents of a file, restores it, and returns what was done where it was taken."""
    text = path.read_bytes() if text is None else text
    taken = []
    for done, content in tampered(text):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        if not refused(read, path.name, done):
            taken.append(done)
    path.write_bytes(text)
    read()
    return taken


@pytest.fixture
def run(fake_run, tmp_path):
    """A copy of a run that a test may damage."""
    return epath.Path(shutil.copytree(fake_run[0], tmp_path / "run"))


def info(run):
    return checkpoint._info(run / "checkpoints" / "6")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("experiment.json", runs.read),
        ("codec.json", runs.read),
        ("data.json", runs.read),
        ("checkpoints/6/metrics/metrics", runs.best),
        ("checkpoints/6/info/metadata", info),
    ],
)
def test_files_of_a_run(run, name, read):
    taken = survives(run / name, lambda: read(run))
    assert not WHOLE.keys() - {"missing" if "metrics" in name else ""} & set(taken)


def test_the_log_of_a_run(run):
    log = run / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    number = next(i for i, line in enumerate(lines) if b'"loss"' in line)
    for done, content in tampered(lines[number]):
        there = [*lines[:number], (content or b"") + b"\n", *lines[number + 1 :]]
        log.write_bytes(b"".join(there))
        wrong = refused(lambda: status.table([status.status(run)]), "log.jsonl", done)
        assert wrong == (done not in ("missing", "empty")) or done not in WHOLE
    for content in (b"", b"\n\n", b"".join(lines) + lines[0][:20], b"".join(lines) + b"\0" * 99):
        log.write_bytes(content)
        assert status.status(run)["steps"] == 6
    log.unlink()
    assert status.status(run)["steps"] == 6


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "array_metadatas"])
def test_weights_of_a_run(run, name):
    path = run / "checkpoints" / "6" / "params" / name
    for done, content in WHOLE.items():
        path.rmtree() if path.is_dir() else path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        refused(lambda: weights.load(run, 6), "params", done)


@pytest.fixture(scope="session")
def exported(fake_run, tmp_path_factory):
    """A model as one file."""
    out = tmp_path_factory.mktemp("exported") / "model.safetensors"
    weights.export(fake_run[0], out)
    return out


def rewritten(exported, path, header=None, **arrays):
    """Writes the model with other parts of its header, or arrays; None leaves one out."""
    with safetensors.safe_open(exported, "np") as file:
        about = file.metadata() | (header or {})
    params = safetensors.numpy.load_file(exported) | arrays
    kept = {name: value for name, value in about.items() if value is not None}
    params = {name: array for name, array in params.items() if array is not None}
    safetensors.numpy.save_file(params, path, metadata=kept)


@pytest.mark.parametrize(
    "part", ["format", "version", "experiment", "codec", "styles", "controls", "step"]
)
def test_the_header_of_an_exported_file(exported, tmp_path, part):
    path = tmp_path / "model.safetensors"
    with safetensors.safe_open(exported, "np") as file:
        text = file.metadata()[part]
    contents = dict(WHOLE) if part in ("format", "version") else dict(tampered(text.encode()))
    if part == "experiment":  # its other settings are those of experiment.json
        contents = {k: v for k, v in contents.items() if k in WHOLE or k.startswith("['model'")}
    for done, content in contents.items():
        content = content if content is None else content.decode("latin-1")
        rewritten(exported, path, {part: content})
        # Of another shape, a model has to be refused too, so all of it is read.
        whole = part == "step" or (done.startswith("['model'") and done.endswith("left out"))
        read = functools.partial(weights.load if whole else described.described, path)
        wrong = refused(read, path.name, done)
        assert wrong or done not in WHOLE or (part, done) == ("step", "a number")


def test_the_bytes_of_an_exported_file(exported, tmp_path):
    path = tmp_path / "model.safetensors"
    whole = exported.read_bytes()
    long = (2**63 - 1).to_bytes(8, "little")
    for content in (b"", whole[:4], whole[:-1], whole + b"\0", long + whole[8:], b"\0" * 64):
        path.write_bytes(content)
        assert refused(lambda: weights.load(path), path.name, content[:9])
        assert refused(lambda: described.described(path), path.name, content[:9])
    path.unlink()
    path.mkdir()
    assert refused(lambda: weights.load(path), path.name, "a folder")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(exported, tmp_path, value):
    path = tmp_path / "model.safetensors"
    query = safetensors.numpy.load_file(exported)["layers.query"]
    query.flat[-1] = value
    rewritten(exported, path, **{"layers.query": query})
    like = {name: jnp.asarray(x) for name, x in safetensors.numpy.load_file(exported).items()}
    for read in (model.load, weights.load, lambda p: weights.restore_params(p, like)):
        with pytest.raises(UserError, match=r"not finite at step 6 \(layers\.query\)"):
            read(path)


@pytest.mark.parametrize("wrong", [None, np.zeros(3, np.float32), np.zeros((), np.complex64)])
def test_arrays_of_another_kind_are_refused(exported, tmp_path, wrong):
    path = tmp_path / "model.safetensors"
    rewritten(exported, path, **{"layers.query": wrong})
    assert refused(lambda: weights.load(path), path.name, str(wrong))


def test_files_of_a_dataset(starter_data, tmp_path):
    shutil.copytree(starter_data, tmp_path / "data")
    found = catalog.open_dataset("starter", str(tmp_path / "data"))

    def opened():
        again = catalog.open_dataset("starter", str(tmp_path / "data"))
        assert again.styles and again.splits

    folder = epath.Path(found.path)
    summary = folder / "summary.json"
    text = summary.read_bytes()
    for done, content in tampered(text):
        if content is not None:
            summary.write_bytes(content)
            assert refused(lambda: catalog.summary(folder), "summary.json", done) or (
                done not in WHOLE
            )
    summary.write_bytes(text)
    opened()
    for name in ("dataset_info.json", "features.json"):
        kept = (folder / name).read_bytes()
        for done, content in [*WHOLE.items(), ("cut off", kept[:99])]:
            (folder / name).unlink(missing_ok=True)
            if content is not None:
                (folder / name).write_bytes(content)
            refused(lambda: Stored(folder, "train"), folder.name, done)
        (folder / name).write_bytes(kept)
    assert len(Stored(folder, "train"))


def test_the_list_of_files_in_a_bucket(tmp_path):
    folder = epath.Path(tmp_path)
    (folder / "a.bin").write_bytes(b"a")
    files = folder / "files.json"
    files.write_text(json.dumps([["a.bin", 1, "ab"]]))
    survives(files, lambda: local_cache._listed(folder))
    files.write_text(json.dumps([["../a.bin", 1, "ab"]]))
    assert refused(lambda: local_cache._listed(folder), str(folder), "another folder")


def test_a_lease(tmp_path):
    path = epath.Path(tmp_path) / "lock"
    path.write_text(json.dumps({"owner": "me", "machine": "here", "process": 1, "beat": 0}))

    def read():
        holder = leases._read(path)
        return holder and leases._gone(holder)

    survives(path, read)


def test_a_report(tmp_path):
    path = epath.Path(tmp_path) / "report.json"
    interval, away = {"value": 1.5, "low": None, "high": 2.0}, {"difference": 0.5}
    run = {"name": "a", "settings": {"steps": 9}, "dataset": "pop", "parameters": 9, "steps": 9}
    run |= {"seconds": 1.0, "training": [[1, 2.0]], "validation": [], "last": None, "best": None}
    likelihood = {"resolution": "12", "pieces": 1, "notes": 2, "seconds": 1.0}
    figure = {"name": "share", "asked": 1.0, "not_asked": None}
    report = {
        "version": compare.VERSION,
        "run": run,
        "likelihood": likelihood | {"figures": {"bits_per_note": interval}},
        "statistics": {"tempo": {"title": "tempo", "distance": away, "floor": away}},
        "adherence": {"controls": {"key": {"figures": [figure]}}},
        "sets": {"ours": {"songs": 3}},
        "endings": {"ours": {"tonic": 0.5, "cut_off": None}},
        "repetition": {"ours": {"likeness": {"4": 0.1, "8": None}, "stuck": 0.0}},
        "originality": {"ours": {"copied": 0.0, "median": 3.0, "most": 9.0}},
    }
    path.write_text(json.dumps(report))
    (tmp_path / "other").mkdir()
    other = shutil.copy(path, tmp_path / "other")
    survives(path, lambda: compare.as_text(compare.entries([str(tmp_path), str(other)])))
