"""The one exception that people are meant to read."""


class UserError(ValueError):
    """Something the user can put right: its text is one sentence that says what to do."""
