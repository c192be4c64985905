"""Published experiments, run again as published and as they should have been, beside their published numbers.

record.py     what a reproduction found: tables of cells, pictures, charts
paper.py      published numbers with their source and conditions, from papers/*.yaml
workbench.py  steps that are made once and kept, so that hours of work go on where they stopped
training.py   the training loops of the papers

systems/      one file a reproduction
"""
