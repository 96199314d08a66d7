"""The commands of `jaxmusic`, one short function each."""
