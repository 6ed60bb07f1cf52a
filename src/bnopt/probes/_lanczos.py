"""The ends of the spectrum of a symmetric map that is known by its products v -> Hv (Lanczos, 1950)."""

from typing import NamedTuple

import torch

# A remainder of this relative size is a rounding error: the basis spans an invariant space.
ROUNDING = 1e-12


class Ends(NamedTuple):
    """The smallest and the largest Ritz value of a map, and the unit vector that belongs to the largest."""

    lowest: float
    highest: float
    top: torch.Tensor


def extreme_eigenvalues(product, start, *, products):
    """Return the smallest and the largest Ritz value of a symmetric map v -> Hv.

    product: the map; start: first vector of the basis; products: largest number of calls of `product`.
    """
    _, matrix = _lanczos(product, start, products)
    values = torch.linalg.eigvalsh(matrix)
    return values[0].item(), values[-1].item()


def ends(product, start, *, products):
    """Return the `Ends` of a symmetric map; all are NaN if a product is not finite.

    Arguments are those of `extreme_eigenvalues`. Ritz values lie within the spectrum: with few products
    the largest is too small. How much is seen from ‖Hv − λv‖ of the vector v = `top` and its value λ:
    some eigenvalue is as near to λ as that.
    """
    basis, matrix = _lanczos(product, start, products)
    if not matrix.isfinite().all():
        return Ends(torch.nan, torch.nan, torch.full_like(basis[0], torch.nan))
    values, vectors = torch.linalg.eigh(matrix)
    top = basis.T @ vectors[:, -1].to(basis.device)
    return Ends(values[0].item(), values[-1].item(), top / top.norm())


def _lanczos(product, start, products):
    """Return an orthonormal basis, (k, n), and the map in this basis: a tridiagonal matrix, on the CPU.

    Every new vector is orthogonalised twice against all earlier ones. All values are float64.
    """
    basis = start.new_empty((min(products, len(start)), len(start)), dtype=torch.float64)
    basis[0] = start.double() / start.double().norm()
    diagonal, beside = [], []
    for count in range(1, len(basis) + 1):
        earlier = basis[:count]
        image = product(earlier[-1])
        diagonal.append((earlier[-1] @ image).item())
        size = image.norm().item()
        for _ in range(2):
            image = image - earlier.T @ (earlier @ image)
        beside.append(image.norm().item())
        if count == len(basis) or beside[-1] <= ROUNDING * size:
            break
        basis[count] = image / beside[-1]
    size = len(diagonal)
    on, off = (torch.tensor(values, dtype=torch.float64) for values in (diagonal, beside[: size - 1]))
    return basis[:size], torch.diag(on) + torch.diag(off, 1) + torch.diag(off, -1)
