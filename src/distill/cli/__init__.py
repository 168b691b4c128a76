"""The command line of `distill`; `main` runs one command. Imports no NumPy."""

from distill.cli.entry import main

__all__ = ["main"]
