"""The published experiments, run again: numbers, figures and a page for each."""
