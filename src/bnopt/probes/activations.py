"""The distributions of activations and how they move (Figures 1(c), 2, 6, 8 and 9 of the paper).

Of each layer a few units, drawn once per seed. Their moments over the batch (and, in convolutions,
over positions) at θ_t, and after the run's own update θ_{t+1} = θ_t − lr g_t both on the next batch,
as training sees them, and on the same batch, free of the noise that successive batches bring.
"""

import numpy as np
import torch

from bnopt.run.vectors import descend


def measure(point, *, layers, units, bins):
    """Return a row per layer, site within the layer, and unit.

    layers: name -> number of the layer, counted from 1; units: how many per layer; bins: how many.
    layer, site, unit                       the name, where in the layer (the task's SITES), which
    mean, variance                           of batch t at θ_t
    mean_next, variance_next                 of batch t + 1 at θ_{t+1}
    mean_same_batch, variance_same_batch     of batch t at θ_{t+1}
    low, high, bin_0 ... bin_{bins-1}        counts of batch t at θ_t in equal bins of [low, high]

    Variances divide by the number of values, as batch normalisation does.
    """
    sites = {
        f"{number}.{module}": (name, site)
        for name, number in layers.items()
        for site, module in point.run.task.SITES.items()
    }
    _, gradient = point.value_and_gradient(point.parameters)
    updated = descend(point.parameters, gradient, point.lr)
    with torch.no_grad():
        now = point.outputs(point.parameters, sites, step=point.step)
        following = point.outputs(updated, sites, step=point.step + 1)
        same_batch = point.outputs(updated, sites, step=point.step)

    rows = []
    for module, (layer, site) in sites.items():
        chosen = point.units(layer, now[module].shape[1], units)
        values = [_values(output[module], chosen) for output in (now, following, same_batch)]
        for unit, at_t, after, after_same in zip(chosen.tolist(), *values, strict=True):
            low, high = at_t.min(), at_t.max()
            counts = _histogram(at_t, low, high, bins)
            rows.append(
                {
                    "layer": layer,
                    "site": site,
                    "unit": unit,
                    "mean": at_t.mean(),
                    "variance": at_t.var(),
                    "mean_next": after.mean(),
                    "variance_next": after.var(),
                    "mean_same_batch": after_same.mean(),
                    "variance_same_batch": after_same.var(),
                    "low": low,
                    "high": high,
                    **{f"bin_{i}": count for i, count in enumerate(counts)},
                }
            )
    return rows


def _values(output, units):
    """Return the values of some units, float64 (units, batch and positions)."""
    return output[:, units.to(output.device)].transpose(0, 1).flatten(1).double().cpu().numpy()


def _histogram(values, low, high, bins):
    """Return counts in equal bins of [low, high]; all zero where there is no such interval."""
    if not np.isfinite([low, high]).all() or low == high:
        return [0] * bins
    return np.histogram(values, bins=bins, range=(low, high))[0].tolist()
