"""Storage: local copies of remote files and of members of tar files."""
