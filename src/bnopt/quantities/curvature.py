"""The curvature of the loss per step, raw and in units of 2/lr, the edge of stability."""

KEYS = ["condition", "seed", "step"]
# The columns with the unit of a curvature; 2/lr has it too.
CURVATURES = ["sharpness", "lowest", "gradient_curvature", "hessian_gradient", "trace", "trace_error"]


def per_step(table):
    """Return one row per step: means over the phases.

    Columns are those of the probe, and for each of CURVATURES

    <column>_in_edges    the column times lr/2: 1 where gradient descent stops being stable
    """
    values = table.drop(columns=["phase", "lr"])
    scaled = table[CURVATURES].mul(table["lr"] / 2, axis="index").add_suffix("_in_edges")
    return values.join(scaled).groupby(KEYS, sort=False).mean().reset_index()
