"""The folder of a run: checkpoints, weights, log and status."""
