"""Weights of `jaxmusic.music.harmony`, fitted to music whose chords and keys are known.

Maximum likelihood of two conditional random fields (Lafferty et al. 2001), with a little weight
decay. Chords, every half bar alike: every second song of POP909 with its ``chord_midi.txt`` (where
the notes are plainly those of a seventh chord, as which POP909 annotates about half of them, it
counts as one), every fourth tune of Nottingham with its chord track, 150 songs of the starter
corpus (seed 1), and diatonic chords in random order and plain textures. Keys, every piece alike:
the same songs of POP909 with ``key_audio.txt``, the same starter songs, and the key signatures of
every second piece of Nottingham and of Mutopia. How chords go with keys was fitted last, on the
keys inferred. Songs are counted in the order of their file names, from the first on.

All numbers are in nats; tables hold hundredths of them, in columns by interval in semitones.
"""

from __future__ import annotations

import numpy as np


def _table(text: str, *shape: int) -> np.ndarray:
    return (np.array(text.split(), np.float32) / 100).reshape(shape)


CHORDS = _table(
    """
 123 -132 -153 -183  141 -142 -120  160 -113 -104 -313 -227
 150 -111 -121 -113  110  -78 -118  151  -68  -67  -74 -154
 101 -135 -150  -50    7 -113 -100  -27  -64 -162  105 -175
  68  -26  -13  -30   10  -34  -91   71  -77  -85  126    5

 121  -97 -164  186 -237 -139 -206  168 -149 -125 -247 -153
 152  -71 -118  129 -219 -119 -191  153  -92 -118 -111 -148
  95  -43 -185   -2 -128 -101 -109  -15 -147 -137  -87 -147
  49   13 -108   21 -111  -18 -111   43  -82 -135  138 -125

 121 -154 -189 -185  288 -114 -148  122 -140 -105  395 -175
  47 -153 -160 -176  163  -96 -151   54 -170 -124  163 -167
 124 -111 -114 -132 -100  -95 -106  -61  -91 -122 -113 -109
  17 -109 -119  -81  -46  -48 -104   13  -60 -105   74 -104

 115 -129 -178 -157   90 -141 -136   42 -126 -123 -162  300
 102 -128 -167 -149  105 -124 -131   78 -129 -142 -153   95
  95 -100 -103 -104  -46  -67  -50   29 -100  -61 -102   16
  76  -94  -73 -100   -5  -55  -95   43 -100    0 -109   53

 160 -163 -192  196 -183 -162 -155   54 -126 -136  362 -129
  60 -156 -169  167 -175 -132 -150   90 -134 -152   66 -132
 111 -107 -134 -178 -104  -94  -98   13 -108 -120  -34 -115
  17 -111 -124  -60 -110  -46 -101  -29 -101  -60   80  -96

  99 -113 -132  135 -136 -126  244 -192 -167 -128 -116 -118
 133 -123 -136  107 -123 -138  205 -154 -161 -120 -113 -119
 178  -94  -90  -39  -99 -109    1  -99 -112 -100 -101  -94
  65  -41  -78  -10  -84  -27    8  -84    4  -56  -12  -79

 172  -98   50 -223 -185  173 -132  156 -117 -135 -135 -116
 123 -110   21 -134  -76    3 -140  123 -115 -135  -94 -122
 166 -104  -17  -98 -102  -68 -104  -67  -74  -78  -76 -111
  70  -73  -68  -53  -10   28 -108   22  -39  -37  128  -64
""",
    *(7, 4, 12),
)
"""Evidence for a chord by its quality (order of `notes.CHORD_QUALITIES`), feature (order of
`harmony.Heard`) and the interval of a pitch class above the chord's root."""

QUALITIES = np.array((0.72, 0.2, -1.36, -0.76, -1.35, -0.77, -0.49), np.float32)
"""Evidence for each quality whatever sounds."""

NO_CHORDS = (5.29, -1.29, 3.05)
"""Evidence for no chord: always, for each note that sounds, where nothing does."""

CHORD_STAYS = (0.85, 2.43)
"""What a chord gains by staying: over a bar line, in the middle of a bar."""

DEGREES = _table(
    """
 -45   23  -24   12   -7   12   10   12    4  -16    5   15
 -98  -12   38  -25   -2   -9   -3  -75  -13  -32  -26  -44
 -31  -43   -1  -39   20  -83  -43   26  -29  -14  -57  -43
 -20  -62  -56  -55  -53    2  -43  -82  -57  -53  -55  -49
 -26  -19   16  -18  -12  -21  -27  -31  -14  -18  -18   -5
 -32  -67    2  -32  -63  -34  -28  -36  -47  -55  -25   39
   9   -4  -74   -1   -3   -2   -6  -16   -9  -23   -9    6

 -19   32   -7  -18   15   -2   -1    3   10   11   26   28
 -28  -29  -21  -44   -3   33  -26  -20  -24  -33  -49  -29
 -52  -38  -41  -65  -41  -45  -37  -20  -66  -43  -50  -41
 -54  -66  -47    8  -50  -54  -47  -62   -4  -45  -75  -43
 -26  -18   -2  -17  -29   19  -15  -38  -18  -35  -21  -22
 -67  -38   14  -36  -47  -50  -39  -53  -45  -30  -38   -6
   6    0   -3   20   -6  -64   -3   43   28    3  -23   -7
""",
    *(2, 7, 12),
)
"""Evidence for a chord from the mode of the key (major, minor), by the chord's quality and the
interval of its root above the tonic."""

KEYS = _table(
    """
  60  -41  -23    6  -38   25  -25   26  -12   -5  -19  -32
 -41  -10   29    0    9  -12    4  -13   -9   40   12    5
 -30    0    6    8   15  -12   -2   29   -3   14   27    5
   8   -6   21    7   -9   12   -3  -21   -4    1   -8    2
  -8    0   10    0   11   -5    2    1   -4    7   -2    5
   8   -5    8    1   -5    1    6   -2   -9    5    7  -15
   0    2   11   -4  -11  -10   -5    4   -3   -7    5   11
  40  -49   22  -59   58   -8  -71   44  -60   22  -43   16
  55   -6    0   -8    9   14   -4   44   -8   -5   -8   -3
  86   -3    6   -4    0   -7   -4   14   -3  -15   -6    6

  21  -22  -12   58  -26  -36  -26   20   27  -24   40  -30
  57  -16  -31  -12   41   42   -1   21  -27  -24  -13   35
  -3    4   -2  -19   -5  -13   -4    9    5   -4    9    1
  -6  -10   -2   13   -3   -2   -6    2   25   -3    2   -5
  18   -2  -19   -5    2    6    0   22   -4  -17    2    3
  -8   -3   -1   -6   13   -6   -9   -2    0   14   -2    8
  28   -2  -12    6   -5    4   -2  -11    1   -4   23   -4
  43  -53   -5   32  -21   31  -29   49   -9  -51   24  -10
  29   -7   -6  -13   -9  -16   -3   -3   -9   -6  -33   -3
  48   -4   -6  -28   -1  -20   -4  -15   -9   -4  -27   -4
""",
    *(2, 10, 12),
)
"""Evidence for a key by its mode (major, minor), feature (order of `harmony.key_features`) and the
interval of a pitch class above the tonic."""

MINOR = -0.06
"""Evidence for minor whatever sounds, in each bar."""

KEY_STAYS = 6.34
"""What a key gains by staying over a bar line."""
