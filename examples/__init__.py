"""Programs that show what jaxmusic is used for; they run from the root of the repository."""
