"""Everyone who tries to undo the cut: one attack per file, floors that see no release among them."""
