"""What pictures are worth: do they point, whose are they, and do they tell what was planted?"""
