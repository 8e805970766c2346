"""How records of each kind lie in rows of tokens, and how what a network gives leads back to text."""
