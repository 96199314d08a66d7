"""Evaluation: what music is like, and how near it comes to other music."""
