"""Mistakes in the module forms of spectral normalisation."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

MUTATIONS = (
    Mutation(
        "fastwgan/_spectral_hook.py",
        "self.compute_weight(module, module.training)",
        "self.compute_weight(module, True)",
        "u and v that move in evaluation too",
        "tests/spectral/test_spectral.py::test_replays_torch_step_by_step "
        "tests/spectral/test_spectral.py::test_first_use_in_eval_mode",
    ),
    Mutation(
        "fastwgan/_spectral_vectors.py",
        "    u = weight.new_empty(rows).normal_(0, 1)\n"
        "    v = weight.new_empty(columns).normal_(0, 1)\n",
        "    v = weight.new_empty(columns).normal_(0, 1)\n"
        "    u = weight.new_empty(rows).normal_(0, 1)\n",
        "random numbers drawn in another order than torch's",
        "tests/spectral/test_spectral.py::test_registers_what_torch_registers",
    ),
    Mutation(
        "fastwgan/_spectral_vectors.py",
        "source = converted if before.is_meta else before",
        "source = converted",
        "u and v rounded to half precision on their way to float32",
        "tests/spectral/test_spectral_copies.py::test_half_leaves_u_and_v_in_float32",
    ),
    Mutation(
        "fastwgan/parametrizations.py",
        'first="u",',
        'first="v",',
        "both of torch's forms taken to begin with the same half-step",
        "tests/spectral/test_parametrizations.py::test_replays_torch_step_by_step",
    ),
    Mutation(
        "fastwgan/_spectral_group.py",
        "if not calls and plan.modules:",
        "if plan.modules:",
        "a root that calls itself normalised anew by each call",
        "tests/spectral/test_spectral_group_calls.py::test_a_root_that_calls_itself",
    ),
    Mutation(
        "fastwgan/_spectral_vectors.py",
        "memo[id(weight)] = weight.detach().clone()",
        "memo[id(weight)] = weight.detach()",
        "a deep copy in the memory of what it was made from",
        "tests/spectral/test_spectral_copies.py::test_deep_copies_share_nothing",
    ),
)
