"""Views of a stream: what is hidden, and that the model then sees the stream without it."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import pieces

from jaxmusic.codecs.layout import CONTROLS
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.generate import views
from jaxmusic.generate.views import View

CODEC = MetricalCodec()
