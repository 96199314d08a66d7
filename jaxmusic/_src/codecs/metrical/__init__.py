"""The metrical codec and its grammar."""
