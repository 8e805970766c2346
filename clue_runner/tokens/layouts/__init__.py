"""How records of each kind become rows of tokens, and how a network's outputs become text again."""
