"""Where matrices come from: random queries and keys, plans over layers and heads, files."""
