"""An audit as a table in text, in a terminal, in a notebook and as a DataFrame."""
