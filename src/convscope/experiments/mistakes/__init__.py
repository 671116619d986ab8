"""Why a network is wrong: its confusions, the maps that tell, labels in doubt, duplicates."""
