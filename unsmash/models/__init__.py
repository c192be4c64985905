"""The networks that can be split: one file per family. The folder is the list."""
