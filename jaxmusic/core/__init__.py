"""What every room may use: errors, paths, locks, settings and event tensors."""
