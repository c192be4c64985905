"""How much a guess gives away: plain functions by family, and one `Metric` line each that says unit and direction."""
