"""Side stage: the theorems of Section 4 and Appendix C on random linear layers, one unit each."""

import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from bnopt import runtime, theory
from bnopt.files import artefacts
from bnopt.run import device, streams

EPSILONS = (0.0, 1.0e-5)
LARGEST_BATCH = 24


def random_layers(*, draws, seed):
    """Return one row per theorem and draw; theorems that depend on ε have one row for each of EPSILONS.

    A draw is a layer of n ≥ m standard Gaussian inputs with Gaussian weights, over a batch of m = 4 to 24
    values. γ has either sign; the bound λ is between 0.1 and 10. The loss cycles through LOSSES.

    theorem, draw, loss        thm4.1, thm4.2, thm4.4, thmC.1, obs4.3 or lem4.5; number of the draw; one
                               of LOSSES
    values, gamma, bound, eps  m, γ, λ, ε; in rows of thm4.2, `bound` is the right side of its second part
    left, right, error, ...    the values that the theorem's function in `bnopt.theory` returns
    min_eigenvalue,            thm4.2 and thmC.1, at ε = 0: from all eigenvalues of H
    max_eigenvalue,
    semidefinite
    attained_error             thm4.4 and thmC.1: relative error of the maxima or forms, compared with
                               automatic differentiation in the weights at random inputs with XXᵀ = λ²I
    excess                     thmC.1: excess of the largest form over ‖X‖ ≤ λ over that at XXᵀ = λ²I (see
                               `theory.largest_form`), without BN: of H, along g
    output_excess              thmC.1: the same with BN: of A, along d
    invariance_error           lem4.5: relative change of the loss with BN from W* to kW*

    `theorem_table` and the figure `theorems` read the errors, slacks, shares, premises and excesses. The
    others (values, gamma, bound, left, right, printed, kappa, scale, error_at_sigma and the two
    eigenvalues) are for readers of the table.
    """
    return pd.DataFrame([row for draw in tqdm(range(draws)) for row in _draw(seed, draw)])


def _draw(seed, draw):
    """Return the rows of one draw."""
    generator = streams.generator(seed, "random layer", draw)

    def normal(*size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    m = int(torch.randint(4, LARGEST_BATCH + 1, (), generator=generator))
    n = m + int(torch.randint(0, 8, (), generator=generator))
    x, weights = normal(m, n), normal(n)
    loss, make = list(LOSSES.items())[draw % len(LOSSES)]
    rest = make(m, normal)
    gamma, beta = (normal().exp() * normal().sign()).item(), normal().item()
    bound = 10 ** (2 * torch.rand((), generator=generator).item() - 1)
    orthonormal = torch.linalg.qr(normal(n, m)).Q.T
    about = {"draw": draw, "loss": loss, "values": m, "gamma": gamma, "bound": bound}

    y = x @ weights + normal()
    rows = []
    for eps in EPSILONS:
        unit = theory.evaluate(y, rest, gamma=gamma, beta=beta, eps=eps)
        rows += [
            {"theorem": "thm4.1", "eps": eps} | theory.theorem_4_1(unit),
            {"theorem": "thm4.2", "eps": eps} | theory.theorem_4_2(unit),
            {"theorem": "obs4.3", "eps": eps} | theory.observation_4_3(y, eps=eps),
        ]
    unit = theory.evaluate(y, rest, gamma=gamma, beta=beta)
    rows += [
        {"theorem": "thm4.4"} | _worst_gradient(unit, y, rest, beta, bound * orthonormal),
        {"theorem": "thmC.1"} | _worst_curvature(unit, y, rest, beta, bound * orthonormal),
        {"theorem": "lem4.5"} | _nearest_optimum(x, weights, normal(n), rest, gamma, beta),
    ]
    definite = _definiteness(unit)
    for row in rows:
        if row["theorem"] in ("thm4.2", "thmC.1") and not row.get("eps"):
            row |= definite
    return [{"theorem": row["theorem"], **about, "eps": 0.0} | row for row in rows]


# -- the rest of the net --------------------------------------------------------------------------


def _convex(m, normal):
    """Return a logistic loss plus a positive semi-definite quadratic of half the rank."""
    slopes, offsets, factor = normal(m), normal(m), normal(m // 2, m)
    return lambda z: functional.softplus(slopes * z + offsets).sum() + (factor @ z).square().sum() / m


def _nonconvex(m, normal):
    """Return an indefinite quadratic plus a sum of sines."""
    matrix, slopes, phases = normal(m, m), normal(m), normal(m)
    return lambda z: z @ matrix @ z / m + (slopes * z + phases).sin().sum()


def _relu_net(m, normal):
    """Return a piecewise linear net without BN: the unit and 3 fixed ones -> 6 ReLUs -> cross-entropy."""
    return _net(m, normal, norm=lambda hidden: hidden)


def _bn_net(m, normal):
    """Return the same net with BN before its non-linearity; this BN couples the values of the batch."""
    return _net(m, normal, norm=lambda hidden: functional.batch_norm(hidden, None, None, training=True))


def _net(m, normal, *, norm):
    others, first, second = normal(m, 3), normal(4, 6), normal(6, 3)
    labels = normal(m, 3).argmax(1)

    def rest(z):
        hidden = norm(torch.cat([z[:, None], others], dim=1) @ first)
        return functional.cross_entropy(functional.relu(hidden) @ second, labels)

    return rest


LOSSES = {"convex": _convex, "nonconvex": _nonconvex, "relu_net": _relu_net, "bn_net": _bn_net}


# -- theorems on actual inputs --------------------------------------------------------------------


def _hessian(product, m):
    """Return the matrix (m, m) of v -> Hv, made exactly symmetric."""
    matrix = torch.stack([product(v) for v in torch.eye(m, dtype=torch.float64)])
    return (matrix + matrix.T) / 2


def _definiteness(unit):
    """Return `theory.definiteness` of H, from all eigenvalues of H."""
    values = torch.linalg.eigvalsh(_hessian(unit.hessian_product, len(unit.gradient)))
    return theory.definiteness(values[0].item(), values[-1].item())


def _in_weights(rest, inputs, outputs):
    """Return the gradient and the Hessian product of the loss in weights that map `inputs` to `outputs`.

    inputs: X (m, n) with XXᵀ = λ²I. Then W = Xᵀy / λ² gives the outputs y.
    """
    square = inputs[0] @ inputs[0]
    return theory.differentiate(lambda w: rest(inputs @ w), inputs.T @ outputs / square)


def _both_in_weights(unit, y, rest, beta, inputs):
    """Return the pairs of `_in_weights` without BN (outputs z) and with BN (outputs y)."""
    settings = {"gamma": unit.gamma, "beta": beta}
    return (
        _in_weights(rest, inputs, theory.batch_norm(y, **settings)),
        _in_weights(lambda y: rest(theory.batch_norm(y, **settings)), inputs, y),
    )


def _worst_gradient(unit, y, rest, beta, inputs):
    """Return Theorem 4.4 and its attained_error at `inputs`, X with XXᵀ = λ²I."""
    bound = inputs[0].norm().item()
    theorem = theory.theorem_4_4(unit, bound)
    (plain, _), (normalised, _) = _both_in_weights(unit, y, rest, beta, inputs)
    errors = [
        theory.compare(bound**2 * unit.gradient.square().sum().item(), plain.square().sum().item()),
        theory.compare(theorem["left"], normalised.square().sum().item()),
    ]
    return theorem | {"attained_error": max(e["error"] for e in errors)}


def _worst_curvature(unit, y, rest, beta, inputs):
    """Return Theorem C.1, its attained_error at `inputs`, X with XXᵀ = λ²I, and its two excesses."""
    bound = inputs[0].norm().item()
    theorem = theory.theorem_c_1(unit, bound)
    (plain, plain_hessian), (normalised, hessian) = _both_in_weights(unit, y, rest, beta, inputs)
    errors = [
        theory.compare(bound**4 * unit.gradient_form, (plain @ plain_hessian(plain)).item()),
        theory.compare(theorem["left"], (normalised @ hessian(normalised)).item()),
    ]
    m = len(y)
    full = _hessian(unit.hessian_product, m)
    _, product = theory.differentiate(
        lambda y: rest(theory.batch_norm(y, gamma=unit.gamma, beta=beta)), y.detach()
    )
    largest = theory.largest_form(full, unit.gradient, bound)
    largest_output = theory.largest_form(_hessian(product, m), unit.output_gradient, bound)
    return theorem | {
        "attained_error": max(e["error"] for e in errors),
        "excess": largest["excess"],
        "output_excess": largest_output["excess"],
    }


def _nearest_optimum(x, start, optimum, rest, gamma, beta):
    """Return Lemma 4.5 for weights `start` and `optimum`, and its invariance_error."""
    lemma = theory.lemma_4_5(start, optimum)

    def loss(weights):
        return rest(theory.batch_norm(x @ weights, gamma=gamma, beta=beta)).item()

    change = theory.compare(loss(optimum), loss(lemma["scale"] * optimum))
    return lemma | {"invariance_error": change["error"]}


def main(argv=None):
    """Evaluate the theorems on random layers from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    device.be_repeatable()
    artefacts.write_table(random_layers(**job.settings), options.table, job=job)


if __name__ == "__main__":
    runtime.run(main)
