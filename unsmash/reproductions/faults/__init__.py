"""Faults that published evaluations share, each shown on real data in a file of its own by a function `show`.

fault.py      what showing one comes to, and how measurements become its figures and words
ground.py     what they stand on: how much data, the networks trained on it, what adversaries see of them
"""
