"""Composing: sampling from a model under a codec's grammar."""
