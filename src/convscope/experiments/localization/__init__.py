"""Where the objects are: boxes from maps of what a class rests on, and detection by regions."""
