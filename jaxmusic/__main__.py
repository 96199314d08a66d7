"""`python -m jaxmusic` is the command line."""

from jaxmusic._src.commands.cli import main

if __name__ == "__main__":
    main()
