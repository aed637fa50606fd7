"""Mistakes in fastwgan/ops, in the optimizer and in clipping."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

_PENALTY = "tests/ops/test_gradient_penalty_gradients.py"
_SPECTRAL = "tests/ops/test_spectral_norm_gradients.py"

MUTATIONS = (
    Mutation(
        "fastwgan/ops/gradient_penalty/reference.py",
        "share * slope[:, None] * directions",
        "share * slope[:, None] * wide",
        "phi' times the gradient, not times its direction",
        "tests/ops/test_gradient_penalty.py::test_norms_of_every_size",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/reference.py",
        "product = across * (t - u * along) +",
        "product = across * t +",
        "a Hessian without the projection across the gradient",
        f"{_PENALTY}::test_derivatives_to_the_third_order",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/reference.py",
        "share = weight / gradient.shape[0]\n    wide =",
        "share = weight / gradient.numel()\n    wide =",
        "the mean over the wrong count, in the second derivative alone",
        f"{_PENALTY}::test_derivatives_to_the_third_order",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/reference.py",
        "repeat_interleave(rows)",
        "repeat(rows)",
        "the groups' alphas dealt out in turn",
        f"{_PENALTY}::test_gradcheck_of_the_interpolates "
        "tests/ops/test_gradient_penalty.py::test_interpolates_of_every_size",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/autograd.py",
        "((1 - share) * g).to(g.dtype) if needed[1]",
        "(share * g).to(g.dtype) if needed[1]",
        "fake's gradient with real's factor",
        f"{_PENALTY}::test_gradcheck_of_the_interpolates",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/autograd.py",
        "by_gradient = g * reference.curvature_product",
        "by_gradient = reference.curvature_product",
        "the cotangent left out of the double backward",
        f"{_PENALTY}::test_derivatives_to_the_third_order",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/autograd.py",
        "ctx.mark_non_differentiable(norms)\n        ",
        "",
        "norms that look differentiable, with a gradient of nothing",
        f"{_PENALTY}::test_norms_carry_no_gradient_on_either_way",
    ),
    Mutation(
        "fastwgan/ops/spectral_norm/reference.py",
        "by_sigma.append(_divide_or_zero(once, sigma[index]))",
        "by_sigma.append(once)",
        "a power of sigma short in the double backward",
        f"{_SPECTRAL}::test_double_backward_equals_autograd_through_the_definition",
    ),
    Mutation(
        "fastwgan/ops/spectral_norm/reference.py",
        "result = result + grad_sigma[index] * outer",
        "result = result + grad_sigma[index] * outer / sigma[index]",
        "sigma's own gradient divided by sigma",
        f"{_SPECTRAL}::test_gradcheck_and_gradgradcheck",
    ),
    Mutation(
        "fastwgan/ops/spectral_norm/reference.py",
        "_divide_or_zero(-across * grad, sigma[index])",
        "_divide_or_zero(-along * grad, sigma[index])",
        "cotangent and tangent exchanged",
        f"{_SPECTRAL}::test_double_backward_equals_autograd_through_the_definition",
    ),
    Mutation(
        "fastwgan/ops/spectral_norm/autograd.py",
        "increment_version([*u, *v])",
        "increment_version(v)",
        "u written through a pointer, its version counter left behind",
        f"{_SPECTRAL}::test_misuse_of_u_is_reported",
    ),
    Mutation(
        "fastwgan/ops/spectral_norm/autograd.py",
        "        sigma[used],\n",
        "        sigma,\n",
        "the first layers' sigmas for those layers that are used",
        f"{_SPECTRAL}::test_frozen_weights_get_no_gradient "
        f"{_SPECTRAL}::test_outputs_that_are_not_used",
    ),
    Mutation(
        "fastwgan/ops/rmsprop/__init__.py",
        "for written in (parameters, *arguments[:3]):",
        "for written in (parameters, *arguments[:2]):",
        "the gradient averages' version counters left behind",
        "tests/ops/test_rmsprop.py::test_version_counters_move",
    ),
    Mutation(
        "fastwgan/ops/rmsprop/reference.py",
        "            parameter.add_(direction, alpha=-lr)\n"
        "            if weight_clip is not None:\n"
        "                limit = rounded(weight_clip, parameter.dtype)\n"
        "                parameter.clamp_(-limit, limit)\n",
        "            if weight_clip is not None:\n"
        "                limit = rounded(weight_clip, parameter.dtype)\n"
        "                parameter.clamp_(-limit, limit)\n"
        "            parameter.add_(direction, alpha=-lr)\n",
        "clipping before the step",
        "tests/ops/test_rmsprop.py::test_every_option",
    ),
    Mutation(
        "fastwgan/ops/rmsprop/native.py",
        "index != 1:  # the gradient",
        "index not in (1, 4):  # the gradient",
        "a copy of the state that is not written back",
        "--only-backend cpu-avx2 tests/ops/test_rmsprop.py::test_every_option "
        "tests/ops/test_rmsprop.py::test_one_call_takes_any_mixture",
    ),
    Mutation(
        "fastwgan/ops/weight_clip/reference.py",
        "limit = rounded(bound, tensor.dtype)",
        "limit = rounded(bound, torch.float32)",
        "a bound that is rounded as float32's numbers are, whatever the tensor's",
        "tests/ops/test_weight_clip.py::test_equals_the_definition_and_writes_nothing_else",
    ),
    Mutation(
        "fastwgan/ops/bias_activation/reference.py",
        "results[:summed_rows].sum(0)",
        "cotangents[:summed_rows].sum(0)",
        "the bias's gradient from before the activation's slope",
        "tests/ops/test_bias_activation.py::test_derivative_and_sums",
    ),
    Mutation(
        "fastwgan/optim.py",
        '{"weight_clip": c, **g}',
        '{**g, "weight_clip": c}',
        "a saved clip that the optimizer's own replaces",
        "tests/test_optim_state.py",
    ),
    Mutation(
        "fastwgan/optim.py",
        'group["differentiable"] or type(self.state)',
        "type(self.state)",
        "a differentiable step by the kernel, which leaves no graph",
        "tests/test_optim.py::test_differentiable_step",
    ),
    Mutation(
        "fastwgan/clipping.py",
        "optimizer.register_step_post_hook(hook)",
        "optimizer.register_step_pre_hook(hook)",
        "clipping before the step",
        "tests/test_clip_after_step.py",
    ),
    Mutation(
        "fastwgan/clipping.py",
        "for parameter in layer.parameters(recurse=False)",
        "for parameter in module.parameters(recurse=False)",
        "the root's parameters for those of its norm layers",
        "tests/test_clip_weights.py",
    ),
)
