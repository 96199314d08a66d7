"""Attention kernels, and which one runs where."""
