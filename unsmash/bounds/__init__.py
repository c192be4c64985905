"""What is proven about a release, whatever the attacker does: local ε, ceilings of identification, message counts.

The statements are about real numbers. Noise drawn as floating-point numbers has gaps of its own (Mironov 2012), which
they do not cover.
"""
