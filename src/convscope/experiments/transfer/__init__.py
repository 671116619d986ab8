"""Tables 3 to 5 and 7, Fig. 9: what frozen features are worth for other images."""
