"""The terms of the training loss, one file per term."""
