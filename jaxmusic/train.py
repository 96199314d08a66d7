"""Training: the loop, and tables of objectives, trackers and callbacks to extend."""

from jaxmusic._src.train import callbacks, objectives, session, trackers, trainer

__all__ = ["callbacks", "objectives", "session", "trackers", "trainer"]
