"""The machine: environment, files, processes, signals, random numbers."""
