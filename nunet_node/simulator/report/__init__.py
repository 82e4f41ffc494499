"""What is shown of a run: tables, plots and a page."""
