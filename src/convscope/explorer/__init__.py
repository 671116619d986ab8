"""The live explorer: a network in the browser, with its model in a process of its own."""
