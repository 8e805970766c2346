"""ELECTRA: BERT trained to find replaced words; its generator too, with narrower blocks."""
