"""Curvature of a loss in the rows of a weight: eigenvalues and traces of blocks of the Hessian, from products with it.

Many products are taken at once: the backward pass of the gradient is mapped over the vectors (torch's vmap), so that
the forward pass and the gradient's graph are shared by all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

LANCZOS_STEPS = 8
PROBES = 32
PRODUCTS_AT_ONCE = 16

Product = Callable[[torch.Tensor], torch.Tensor]
"""Multiplies (count, rows, numbers) vectors by a symmetric matrix; the same shape."""


def hessian_product(gradient: torch.Tensor, weight: torch.Tensor) -> Product:
    """Return products with the Hessian in a weight, from the gradient of a loss in it, made with ``create_graph``.

    The Hessian of numbers between which kinks lie (ReLU) is that of the pieces.
    """
    def product(vectors: torch.Tensor) -> torch.Tensor:
        if not gradient.requires_grad:  # the loss is linear in the weight
            return torch.zeros_like(vectors)
        shaped = vectors.reshape(-1, *weight.shape).to(gradient)
        (products,) = torch.autograd.grad(
            gradient, weight, shaped, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        return torch.zeros_like(vectors) if products is None else products.reshape(vectors.shape).to(vectors)

    return product


def largest_eigenvalues(
    product: Product, rows: int, numbers: int, seed: int = 0, steps: int = LANCZOS_STEPS
) -> torch.Tensor:
    """Return the largest eigenvalue of each row's block of a symmetric matrix, from products with it.

    By Lanczos' method, many rows at once: it needs the same products as power iteration, but fewer, and finds the
    largest eigenvalue also where a negative one has a larger magnitude. Exact when ``steps`` reaches ``numbers``.

    Args:
        product: see :data:`Product`.
        rows: blocks.
        numbers: in each block.
        seed: of the starting vectors.
        steps: at most so many products for each row.

    Returns:
        (rows,) float64.
    """
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randn(rows, numbers, generator=generator, dtype=torch.float64)
    parts = [
        _lanczos(product, part, starts[part], rows, min(steps, numbers))
        for part in torch.arange(rows).split(PRODUCTS_AT_ONCE)
    ]
    return torch.cat(parts)


def _lanczos(product: Product, members: torch.Tensor, starts: torch.Tensor, rows: int, steps: int) -> torch.Tensor:
    count, numbers = starts.shape
    own = torch.arange(count)
    basis: list[torch.Tensor] = []
    tridiagonal = torch.zeros(count, steps, steps, dtype=torch.float64)
    vector = functional.normalize(starts, dim=1)
    alive = torch.ones(count, dtype=torch.bool)
    for step in range(steps):
        basis.append(vector)
        whole = torch.zeros(count, rows, numbers, dtype=torch.float64)
        whole[own, members] = vector
        image = product(whole)[own, members]
        along = (image * vector).sum(dim=1)
        # A finished row repeats its first quotient, which is no larger than its largest eigenvalue.
        tridiagonal[:, step, step] = torch.where(alive, along, tridiagonal[:, 0, 0]) if step else along
        for _ in range(2):  # twice, or rounding lets found directions come back
            for earlier in basis:
                image = image - (image * earlier).sum(dim=1, keepdim=True) * earlier
        length = image.norm(dim=1)
        alive = alive & (length > 1e-6 * tridiagonal[:, : step + 1, : step + 1].abs().amax(dim=(1, 2)))
        if step + 1 == steps or not bool(alive.any()):
            tridiagonal = tridiagonal[:, : step + 1, : step + 1]
            break
        tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = torch.where(alive, length, 0)
        vector = torch.where(alive[:, None], image / length.clamp(min=1e-300)[:, None], 0)
    return torch.linalg.eigvalsh(tridiagonal).amax(dim=1)


def traces(product: Product, rows: int, numbers: int, seed: int = 0, probes: int = PROBES) -> torch.Tensor:
    """Return the trace of each row's block of a symmetric matrix by Hutchinson's estimate, all rows from each probe.

    Args and result as for :func:`largest_eigenvalues`; ``probes`` vectors of random signs. Exact for diagonal matrices.
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(rows, dtype=torch.float64)
    for part in torch.arange(probes).split(PRODUCTS_AT_ONCE):
        signs = torch.randint(0, 2, (len(part), rows, numbers), generator=generator).double() * 2 - 1
        total += (signs * product(signs)).sum(dim=(0, 2))
    return total / probes
