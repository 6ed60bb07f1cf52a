"""The length of each layer's weights per step, and values in units in which it does not matter."""


def per_step(table):
    """Return the columns of the probe per layer and step, and two more of a layer's weights w and gradient g:

    squared_weight_length      ‖w‖₂²
    slope                      ‖g‖₂ ‖w‖₂: how fast the loss falls per relative change of w

    A net whose function does not depend on ‖w‖₂ has the same slope with weights of any length.
    """
    squared, slope = table["weight_length"] ** 2, table["gradient_length"] * table["weight_length"]
    return table.assign(squared_weight_length=squared, slope=slope)
