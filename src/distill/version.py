"""The version, which results and the package name alike."""

__version__ = "0.1.0"
