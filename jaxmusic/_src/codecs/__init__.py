"""Between quantised pieces and tokens: vocabularies, grammars and event tensors."""
