"""Tools for every room: errors, paths, locks, settings and event tensors."""
