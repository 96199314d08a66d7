"""Reports: what a model, or a set of songs, is like beside real music, as figures and as a page."""
