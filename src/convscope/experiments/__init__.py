"""Floor 6: the paper's experiments, a package each; its study.py holds what a verb calls.

chance, pieces, samples, bench and scorecard are shared. No experiment knows another but `paper`,
which runs them all.
"""
