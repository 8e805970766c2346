"""DeBERTa-v2, Erlangshen's too: scores of contents with distances, from a trained table, in every layer."""
