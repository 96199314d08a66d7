"""`python -m jaxmusic` is the command line."""

from jaxmusic.cli import main

if __name__ == "__main__":
    main()
