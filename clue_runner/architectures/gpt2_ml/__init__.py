"""GPT2-ML: a decoder with Grover's block structure, which is neither GPT-2's nor BERT's."""
