"""The performance codec and its grammar."""
