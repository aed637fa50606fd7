"""Every mutation, from the kernels up."""

from __future__ import annotations

from tests.mutation import (
    of_cpu_kernels,
    of_cuda_kernels,
    of_engine,
    of_numbers,
    of_operations,
    of_spectral_forms,
    of_training,
)
from tests.mutation.mutation import Mutation

GROUPS: dict[str, tuple[Mutation, ...]] = {
    "CPU kernels": of_cpu_kernels.MUTATIONS,
    "last digits and ends of the range": of_numbers.MUTATIONS,
    "CUDA kernels": of_cuda_kernels.MUTATIONS,
    "operations and optimizer": of_operations.MUTATIONS,
    "engine": of_engine.MUTATIONS,
    "spectral forms": of_spectral_forms.MUTATIONS,
    "trainer": of_training.MUTATIONS,
}
"""By what they are mistakes in."""

MUTATIONS = tuple(mutation for group in GROUPS.values() for mutation in group)
