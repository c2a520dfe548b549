"""The steps of `from_torch` that need torch; nothing imports this folder before it is called."""
