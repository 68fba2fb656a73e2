"""Files of this folder are data: importing `plugin.py` would register its entries for every other test."""

collect_ignore_glob = ["*.py"]
