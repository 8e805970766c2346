"""GPT2-ML: a decoder of Grover's wiring, which is neither GPT-2's nor BERT's."""
