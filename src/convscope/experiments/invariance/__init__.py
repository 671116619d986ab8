"""arXiv Fig. 5: how far features move as pictures are shifted, enlarged and turned."""
