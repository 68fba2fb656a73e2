"""One figure per file: the name of the file is the name of the figure, `report/figure.py` is the catalogue."""
