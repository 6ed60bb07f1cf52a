"""The distributions of activations and how they change (Figures 1(c), 2, 6, 8 and 9 of the paper).

The probe measures a few units of each layer, drawn once per seed. Moments are taken over the batch and,
in convolutions, over positions. They are recorded at θ_t and after the run's own update
θ_{t+1} = θ_t − lr g_t. After the update there are two batches: the next one, as in training, and the
same one, which is free of the noise between batches.
"""

import numpy as np
import torch

from bnopt.run.vectors import descend


def measure(point, *, layers, units, bins):
    """Return one row per layer, site within the layer, and unit.

    layers: name -> number of the layer, counted from 1; units: number of units per layer;
    bins: number of bins of each histogram.

    layer, site, unit                        name of the layer; one of the task's SITES; index of the unit
    mean, variance                           of batch t at θ_t
    mean_next, variance_next                 of batch t + 1 at θ_{t+1}
    mean_same_batch, variance_same_batch     of batch t at θ_{t+1}; no figure, claim or report uses them:
                                             they are for readers of the tables
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
    """Return the values of the given units as float64, of shape (units, batch × positions)."""
    return output[:, units.to(output.device)].transpose(0, 1).flatten(1).double().cpu().numpy()


def _histogram(values, low, high, bins):
    """Return counts in equal bins of [low, high]; all are zero if the interval is empty or not finite."""
    if not np.isfinite([low, high]).all() or low == high:
        return [0] * bins
    return np.histogram(values, bins=bins, range=(low, high))[0].tolist()
