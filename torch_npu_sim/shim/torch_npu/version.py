"""The version whose interface the shim has."""

__version__ = "2.13.0"
git_version = "Unknown"
