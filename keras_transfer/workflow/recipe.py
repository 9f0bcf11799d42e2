"""How `train_classifier` trains: all the numbers that its result depends on.

They are part of what a training that was interrupted is found again by, and stand in a
module that imports nothing, for the command line to name them at once.
"""

# Of a head, on kept features. Of the few that were tried on cats and dogs and flowers,
# beside a logistic regression whose penalty validation chose, it was as good on photos
# of the same kind, and lost least of them on grey, posterized and embossed ones.
HEAD_EPOCHS, HEAD_LEARNING_RATE, DROPOUT = 40, 5e-4, 0.5
# Passes over photos after these.
EPOCHS, LEARNING_RATE, COPIES = 6, 1e-4, 2
# The last blocks that together hold this share of the weights are trained.
SHARE = 0.25
AUGMENTATION = "standard"
