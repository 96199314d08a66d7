"""The machines and processes of a run."""
