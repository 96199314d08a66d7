"""Named datasets: where each comes from, under which licence, and what is known of its pieces."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import dataset_labels, downloading
from jaxmusic._src.data.dataset_labels import LabelReader
from jaxmusic._src.data.downloading import Archive
from jaxmusic._src.data.sources import MusicFile, find
from jaxmusic.config import Prepare


@dataclasses.dataclass(frozen=True)
class NamedDataset:
    """A public dataset.

    Attributes:
      title: what it is, in a few words.
      homepage: where its makers describe it.
      licence: as its owners state it.
      citation: the paper or thesis to cite.
      files: pattern that the paths of its music match, from the group `name` on, which becomes the
        name of the piece whatever folders lie above it.
      archive: what is downloaded; None if there is no single archive.
      labels: reads what it says of its files.
      commercial: whether its licence allows commercial use.
      hint: how to get it where there is no archive.
    """

    title: str
    homepage: str
    licence: str
    citation: str
    files: str
    archive: Archive | None = None
    labels: LabelReader = dataset_labels.unlabelled
    commercial: bool = True
    hint: str = ""

    @property
    def notice(self) -> str:
        """The licence in one line, and aloud if it forbids commercial use."""
        aloud = "" if self.commercial else "; IT FORBIDS COMMERCIAL USE"
        return f"{self.licence}{aloud} ({self.homepage})"


_LAKH = "Raffel, Learning-Based Methods for Comparing Sequences, PhD thesis, Columbia 2016"
_LAKH_FILES = r"(?:^|/)(?P<name>{}[0-9a-f]{{32}}\.mid)$"

# Where the addresses and checksums come from: POP909 and Nottingham are the archives that GitHub
# makes of one commit, which have no stable checksum; Lakh and JSB as in MusPy 0.5's loaders (the
# md5 sums of Lakh's archives there are those of mirdata too); Groove as in TFDS's own checksums;
# MAESTRO as on its page.
DATASETS: dict[str, NamedDataset] = {
    "pop909": NamedDataset(
        title="909 pop songs as melody, bridge and piano",
        homepage="https://github.com/music-x-lab/POP909-Dataset",
        licence="MIT",
        citation="Wang et al., POP909: A Pop-song Dataset for Music Arrangement, ISMIR 2020",
        # Other versions of a song lie in folders called versions.
        files=r"(?:^|/)(?P<name>(?P<number>\d{3})/(?P=number)\.mid)$",
        archive=Archive(
            "https://github.com/music-x-lab/POP909-Dataset/archive/"
            "d83e6edba6872a704f5d3b8b32f5cb540088dae6.zip"
        ),
        labels=dataset_labels.pop909,
    ),
    "lakh_full": NamedDataset(
        title="176,581 different MIDI files found on the web",
        homepage="https://colinraffel.com/projects/lmd",
        licence="CC BY 4.0",
        citation=_LAKH,
        files=_LAKH_FILES.format("[0-9a-f]/"),
        archive=Archive(
            "http://hog.ee.columbia.edu/craffel/lmd/lmd_full.tar.gz",
            "6fcfe2ac49ca08f3f214cec86ab138d4fc4dabcd7f27f491a838dae6db45a12b",
        ),
    ),
    "lakh_matched": NamedDataset(
        title="45,129 files of Lakh that were matched to recordings",
        homepage="https://colinraffel.com/projects/lmd",
        licence="CC BY 4.0",
        citation=_LAKH,
        files=_LAKH_FILES.format(r"[A-Z]/[A-Z]/[A-Z]/TR\w+/"),
        archive=Archive(
            "http://hog.ee.columbia.edu/craffel/lmd/lmd_matched.tar.gz",
            "621ff830aed771f469e5bfa13dc12a33c6ed69090adeda63d0b5c47783af0191",
        ),
    ),
    "maestro": NamedDataset(
        title="1,276 piano performances of a competition",
        homepage="https://magenta.tensorflow.org/datasets/maestro",
        licence="CC BY-NC-SA 4.0",
        citation="Hawthorne et al., Enabling Factorized Piano Music Modeling, ICLR 2019",
        files=r"(?:^|/)(?P<name>\d{4}/[^/]+\.midi?)$",
        archive=Archive(
            "https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/"
            "maestro-v3.0.0-midi.zip",
            "70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c",
        ),
        labels=dataset_labels.maestro,
        commercial=False,
    ),
    "groove": NamedDataset(
        title="1,150 drum performances to a click",
        homepage="https://magenta.tensorflow.org/datasets/groove",
        licence="CC BY 4.0",
        citation="Gillick et al., Learning to Groove with Inverse Sequence Transformations, ICML "
        "2019",
        files=r"(?:^|/)(?P<name>drummer\d+/(?:eval_)?session\w*/[^/]+\.midi?)$",
        archive=Archive(
            "https://storage.googleapis.com/magentadata/datasets/groove/groove-v1.0.0-midionly.zip",
            "651cbc524ffb891be1a3e46d89dc82a1cecb09a57c748c7b45b844c4841dcc1e",
        ),
        labels=dataset_labels.groove,
    ),
    "jsb_chorales": NamedDataset(
        title="382 chorales by J. S. Bach in four parts",
        homepage="http://www-etud.iro.umontreal.ca/~boulanni/icml2012",
        licence="none stated; the music is in the public domain",
        citation="Boulanger-Lewandowski et al., Modeling Temporal Dependencies in "
        "High-Dimensional Sequences, ICML 2012",
        files=r"(?:^|/)(?P<name>(?:train|valid|test)/[^/]+\.mid)$",
        archive=Archive(
            "http://www-etud.iro.umontreal.ca/~boulanni/JSB%20Chorales.zip",
            "69924294546a71620c06374085cd6b0300665ea215e2f854f65a11929f1e723c",
        ),
        labels=dataset_labels.jsb_chorales,
    ),
    "nottingham": NamedDataset(
        title="about 1,000 folk tunes with chords",
        homepage="https://github.com/jukedeck/nottingham-dataset",
        licence="GPL-3.0",
        citation="Foxley, Nottingham Music Database; cleaned by Jukedeck, 2017",
        # Melody and chords alone lie in folders of these names.
        files=r"^(?!.*(?:^|/)(?:melody|chords)/).*?(?P<name>[^/]+\.mid)$",
        archive=Archive(
            "https://github.com/jukedeck/nottingham-dataset/archive/"
            "bcb2afc67d291acdd689ed0c22ab2a8a480f38a6.zip"
        ),
        labels=dataset_labels.nottingham,
    ),
    "mutopia": NamedDataset(
        title="engraved music of five centuries",
        homepage="https://www.mutopiaproject.org",
        licence="public domain, CC BY or CC BY-SA, by the piece",
        citation="The Mutopia Project, https://www.mutopiaproject.org",
        files=r"^(?P<name>.*\.midi?)$",
        labels=dataset_labels.mutopia,
        hint="the Mutopia Project offers pieces one by one: put their MIDI files into a folder, "
        "with a metadata.csv of the columns file and genre if you like",
    ),
}


def named(sources: Sequence[object]) -> str:
    """Returns the dataset that sources name, or an empty string if they are paths.

    Raises:
      UserError: a name stands among other sources.
    """
    names = [str(s) for s in sources if str(s) in DATASETS]
    if not names:
        return ""
    if len(sources) > 1:
        raise UserError(
            f"{names[0]} is the name of a dataset, which is prepared alone: give one name, or "
            f"write a folder that is called so as ./{names[0]}."
        )
    return names[0]


def files_of(name: str, config: Prepare, progress: bool = True) -> list[MusicFile]:
    """Finds the files of a named dataset and their labels; downloads them if needed.

    Args:
      name: a key of `DATASETS`.
      config: its `manual_dir` is read instead of a download if it is set.
      progress: show progress bars.

    Raises:
      UserError: it cannot be had, or is not what it should be.
    """
    dataset = DATASETS[name]
    if config.manual_dir:
        root = pathlib.Path(config.manual_dir).expanduser()
        if not root.is_dir():
            raise UserError(f"manual_dir {root} is no folder: name the one that holds {name}.")
    elif dataset.archive is None:
        raise UserError(f"{name} cannot be downloaded as a whole, {dataset.hint}; --manual-dir it.")
    else:
        root = downloading.fetch(name, dataset.archive, config.data_dir, progress)
    pattern = re.compile(dataset.files)
    found = [(f, m["name"]) for f in find([root], progress) if (m := pattern.search(f.name))]
    if not found:
        raise UserError(
            f"{root} holds nothing of {name}: give the folder to which its archive was unpacked "
            f"({dataset.homepage})."
        )
    files = sorted((f._replace(name=n) for f, n in found), key=lambda f: (f.name, f.path))
    known = dataset.labels(root)
    return [file._replace(known=known(file)) for file in files]
