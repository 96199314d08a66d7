"""The commands of `jaxmusic`: short functions that parse, call the library and print."""
