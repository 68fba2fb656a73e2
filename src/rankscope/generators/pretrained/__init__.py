"""Trained models from folders that a stranger may have written: their weights are read, their code is never run."""
