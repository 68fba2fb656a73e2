"""How results are shown: terminal, notebook, tables, figures, documents. It reads records and nothing else."""
