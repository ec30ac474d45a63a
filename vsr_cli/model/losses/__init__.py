"""The terms of the training loss: one module per `loss_weight` field of `ObjectiveOptions`, with the field's name."""
