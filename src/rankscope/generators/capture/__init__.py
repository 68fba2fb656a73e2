"""The attention of a running model, by interception: what it computed, and proof that this is what it used."""
