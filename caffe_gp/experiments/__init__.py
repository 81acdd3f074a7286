"""One module for each table, figure and demonstration."""
