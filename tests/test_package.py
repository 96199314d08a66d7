"""What must hold of the package as a whole: its imports, metadata and documents."""

import ast
import configparser
import dataclasses
import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import jaxmusic
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.formats import files, midi
from jaxmusic._src.generate import length
from jaxmusic._src.music import beats, grid, meters
from jaxmusic._src.music.notes import Notes, make_notes

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "jaxmusic").rglob("*.py"))
HEAVY = "jax numpy flax grain note_seq matplotlib tensorflow_datasets"


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def floors():
    spec = importlib.util.spec_from_file_location("floors", ROOT / ".ci" / "floors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.quick
@pytest.mark.parametrize(
    ("code", "lacks"),
    [
        ("import jaxmusic", HEAVY),
        ("from jaxmusic.__main__ import main\ntry: main(['-h'])\nexcept SystemExit: pass", HEAVY),
        # Each worker process imports these: four seconds of JAX would be paid once a core.
        ("import jaxmusic._src.data.workers, jaxmusic._src.formats.midi", "jax"),
    ],
)
def test_what_is_light_imports_nothing_heavy(code, lacks):
    found = python(f"{code}\nimport sys\nprint(set({lacks.split()}) & set(sys.modules))")
    assert found.splitlines()[-1] == "set()"


@pytest.mark.quick
def test_importing_every_module_touches_no_device_and_no_heavy_package():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
    ]
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
from jax._src import xla_bridge
print(sorted({{"note_seq", "matplotlib", "tensorflow_datasets", "torch"}} & set(sys.modules)),
      xla_bridge.backends_are_initialized())
"""
    assert python(code) == "[] False"


@pytest.mark.quick
def test_public_names_are_there():
    assert set(jaxmusic.__all__) <= set(dir(jaxmusic))
    for name in jaxmusic.__all__:
        assert getattr(jaxmusic, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        jaxmusic.nonsense  # noqa: B018


@pytest.mark.quick
def test_rooms_are_private_and_public_modules_pass_on_what_they_name():
    public = {path.stem for path in (ROOT / "jaxmusic").glob("[a-z]*.py")} - {"version"}
    rooms = {path.stem for path in (ROOT / "jaxmusic" / "_src").glob("[a-z]*")}
    assert public < rooms and {"generate", "model", "commands"} <= rooms - public
    for name in public:
        module = importlib.import_module(f"jaxmusic.{name}")
        assert module.__all__ == sorted(module.__all__)
        for passed in module.__all__:
            home = getattr(module, passed)
            assert getattr(home, "__module__", home.__name__).startswith(f"jaxmusic._src.{name}")
    with pytest.raises(ImportError):
        from jaxmusic import generate  # noqa: F401


@pytest.mark.quick
def test_imports_point_down(floors):
    assert floors.check(ROOT) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"music/notes.py": "from jaxmusic._src.data import loader"}, "imports data, a room above"),
        ({"data/x.py": "import jaxmusic._src.generate.composer"}, "imports generate, a room besid"),
        (
            {"data/x.py": "def f():\n  from jaxmusic._src import model"},
            "imports model, a room abo",
        ),
        ({"model.py": "from jaxmusic import load"}, "model imports __init__, a room above"),
        ({"model.py": "import jaxmusic.data"}, "model imports data, a room above"),
        ({"formats/x.py": "import note_seq"}, "import note_seq inside the function"),
        ({"data/x.py": "if 1:\n  import jax.numpy"}, "data does without jax"),
        ({"train/x.py": "from . import y"}, "imports are absolute"),
        ({"attic.py": ""}, "room attic has no floor"),
        ({"data/x.py": "import jaxmusic._src.data.x"}, "circle"),
    ],
)
def test_floors_find_what_is_wrong(floors, tmp_path, files, found):
    rooms = ["data/loader", "generate/composer", "model", "music/notes", "train/y"]
    for name in [*(f"{room}.py" for room in rooms), *files]:
        path = tmp_path / "jaxmusic" / "_src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files.get(name, ""))
    problems = floors.check(tmp_path)
    assert len(problems) == 1
    assert found in problems[0]


@pytest.mark.quick
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_a_docstring_and_is_short(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "write a docstring"
    assert len(text.splitlines()) <= 420, "divide this file: it is too long to read in one sitting"


@pytest.fixture(scope="module")
def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_all_packages_are_installed(metadata):
    listed = set(metadata["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in MODULES}
    assert listed == {".".join(folder.parts) for folder in folders} | {"jaxmusic.configs"}


def test_everything_imported_is_required(metadata, floors):
    required = metadata["options"]["install_requires"].strip().splitlines()
    known = {re.split(r"[ \[;]", line)[0].lower().replace("-", "_") for line in required}
    known |= {"jaxmusic", *sys.stdlib_module_names}
    modules = {"orbax_checkpoint": "orbax", "absl_py": "absl"}
    known |= {module for name, module in modules.items() if name in known}
    for path in MODULES:
        for _, name, _ in floors.imports(ast.parse(path.read_text()), set()):
            first = name.split(".")[0].lower()
            # The sound font comes with pretty_midi, which note-seq requires; Beam is an extra.
            assert first in known | {"pretty_midi", "google", "apache_beam"}, (
                f"{path.name} imports {first}"
            )


@pytest.mark.quick
def test_versions_agree():
    version = jaxmusic.__version__
    assert python("from jaxmusic.version import __version__; print(__version__)") == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.quick
def test_readme_has_two_commands():
    text = (ROOT / "README.md").read_text()
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shell = [body.strip() for language, body in fences if language in ("sh", "bash", "console", "")]
    assert shell == [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/jaxmusic quickstart",
        'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest',
    ]


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_documents_link_to_or_name_exists(path):
    text = path.read_text()
    links = [name for name in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in name]
    assert not [name for name in links if not (path.parent / name).exists()]
    named = re.findall(r"`((?:jaxmusic|tests|benchmarks|docs|configs)/[\w./]+\.\w+)`", text)
    assert not [name for name in named if "NAME" not in name and not (ROOT / name).exists()]


def test_the_vocabulary_is_as_described():
    codec = MetricalCodec()
    text = (ROOT / "docs" / "codec.md").read_text()
    tables = text.split("# The performance codec")
    for table, vocabulary in zip(tables, (codec.vocabulary, PerformanceCodec().vocabulary)):
        rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", table, re.MULTILINE)
        v = vocabulary
        assert rows == [(n, str(v.length[n]), str(v.start[n])) for n in v.names]
    sizes = re.findall(r"^\| `(\w+)`.*?\| ([\d,]+) \|", text, re.MULTILINE)
    for kind, size in sizes[:3]:
        made = make_codec(config.Codec(velocities=32 if kind == "performance" else 8, kind=kind))
        assert made.vocab_size == int(size.replace(",", ""))
    v = codec.vocabulary
    assert codec.vocab_size == 1781
    assert v.describe(969) == "pitch 76"


def test_one_note_on_its_way(tmp_path):
    """Follows the note of docs/architecture.md through the code."""
    files.write(band(), tmp_path / "band.mid")
    notes = midi.read_notes(tmp_path / "band.mid")
    assert len(notes) == 144
    assert note(notes, 76) == (231, 88, 84, 0)
    assert round(float(notes.seconds(231)), 3) == 1.444
    aligned, fit = beats.align(notes)
    assert note(aligned, 76) == (970, 440, 84, 0)
    errors = round(fit.error_ms, 2), round(fit.file_error_ms, 2)
    assert (fit.source, *errors) == ("estimate", 0.09, 18.66)
    assert (aligned.meter_num.tolist(), aligned.meter_den.tolist()) == ([4], [4])
    piece, losses = grid.quantise(aligned)
    assert losses.share == 0
    i = int(np.flatnonzero(piece.pitch == 76)[0])
    columns = (piece.onset, piece.duration, piece.velocity, piece.slot)
    assert [column[i] for column in columns] == [24, 11, 5, 1]
    codec = MetricalCodec()
    tokens = codec.encode(dataclasses.replace(piece, styles=("pop",)))
    assert len(tokens) == 284
    words = " ".join(codec.vocabulary.describe(t) for t in tokens[:34].tolist())
    text = (ROOT / "docs" / "architecture.md").read_text()
    shown = re.search(r"( +bos  style 0.*?)\.\.\.$", text, re.MULTILINE | re.DOTALL).group(1)
    assert words == " ".join(shown.split())
    assert [int(e[32]) for e in codec.events(tokens)] == [969, 24, 24, 0, 1, 76]
    moved = codec.encode(dataclasses.replace(piece.transpose(2), styles=("pop",)))
    assert [int(e[32]) for e in codec.events(moved)] == [971, 24, 24, 0, 1, 78]
    tempo = float(meters.TEMPOS[piece.tempo[0]])
    assert round(tempo, 2) == 100.41
    assert length.whole_bars(19.0, int(piece.meter[0]), tempo, 12) == (8, 0)
    back, dropped = codec.decode(tokens)
    assert dropped == 0
    assert note(grid.dequantise(back), 76) == (960, 440, 88, 1)


def band() -> Notes:
    """Eight bars whose notes lie 37 ticks after the file's quarters, one of them 39."""
    tune = (72, 74, 76, 72, 69, 71, 72, 69, 65, 67, 69, 65, 67, 71, 74, 71)
    rows = []
    for beat in range(32):
        at, pitch = 37 + 96 * beat, tune[beat % 16]
        rows.append((at + 2 * (beat == 2), 88, pitch, 84 if beat % 4 else 100, 0))
        if beat % 4 == 0:
            rows += [(at, 360, pitch - 24, 100, 1), (at, 12, 49, 110, 2)]
        rows += [(at, 12, (36, 38)[beat % 2], 110, 2)]
        rows += [(at, 12, 42, 64, 2), (at + 48, 12, 42, 64, 2)]
    return make_notes(
        *zip(*rows),
        program=(73, 33, 0),
        drum=(False, False, True),
        tempos=((0, 100.0),),
        meters=((0, 1, 4),),
        ticks_per_beat=96,
    )


def note(notes: Notes, pitch: int) -> tuple[int, ...]:
    """Onset, duration, velocity and track of the first note of a pitch."""
    i = int(np.flatnonzero(notes.pitch == pitch)[0])
    return tuple(int(c[i]) for c in (notes.onset, notes.duration, notes.velocity, notes.track))
