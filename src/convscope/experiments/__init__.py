"""Floor 6: the paper's experiments, a package each; its study.py declares its verb.

The files beside the packages are shared. No experiment knows another but `paper`, which runs them
all.
"""
