"""Attacks on what is not ours: each is run as a hostile or merely unlucky user would."""
