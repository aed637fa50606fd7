"""Mistakes in the penalty engine: its rules, passes and twins, and what calls it."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

_RULES = "tests/engine/test_rules_alone.py::test_four_rules"
_SPECIAL = "tests/engine/test_rules_special.py"
_LOSS = "tests/test_critic_loss.py"

MUTATIONS = (
    Mutation(
        "fastwgan/engine/rules/smooth.py",
        "d * s * (1 - s) * (2 + x * (1 - 2 * s))",
        "d * s * (1 - s) * (1 + x * (1 - 2 * s))",
        "one of a product's two equal terms forgotten in SiLU's second derivative",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/smooth.py",
        "(slope + 0.5 * x * (6 * k * c * x",
        "(slope + x * (6 * k * c * x",
        "a missing ½ in GELU's second derivative",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/smooth.py",
        "d * (beta * s * (1 - s)",
        "d * (s * (1 - s)",
        "the inner derivative, which is 1 by default",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/smooth.py",
        "return _elu_first(d * options[2], y, options) * (y < 0)",
        "return _elu_first(d, y, options) * (y < 0)",
        "the inner derivative of CELU, which is 1 for ELU",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/softmax.py",
        " - t * (p * d).sum(dim, True)\n",
        "\n",
        "one of the two symmetric terms",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/normalisation.py",
        "-rstd.square() * (h * common",
        "-rstd * (h * common",
        "a power short of the deviation, which is near 1 in most tests",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/normalisation.py",
        "- e.mean(dims, True) * t.mean(dims, True) - e_h * t_h",
        "- e_h * t_h",
        "means that vanish for a centred cotangent, and for it alone",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/batch_norm.py",
        "(d * (site.input() - mean)).sum(over)",
        "(d * site.input()).sum(over)",
        "the running mean forgotten, which is 0 in a layer that has not been trained",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/deviation.py",
        "        m = o.n - o.correction\n        return d * (2 / m)",
        "        m = o.n\n        return d * (2 / m)",
        "n for n - 1",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/reduction.py",
        "n *= x.shape[d]",
        "n = x.shape[d]",
        "a mean over the count of its last dimension",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/reduction.py",
        "return same / same.sum(site.options.dims, True)",
        "return same",
        "a maximum that is reached twice given the cotangent twice",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/sums.py",
        "c=alpha * number * (-1",
        "c=number * (-1",
        "torch.add's alpha, which is 1 by default",
        f"{_RULES} {_SPECIAL} tests/engine/test_rules_in_critics.py::test_as_the_recipe",
    ),
    Mutation(
        "fastwgan/engine/rules/product.py",
        "return (site.input(0) @ t if moved is None else moved + site.input(0) @ t,)",
        "return (site.input(0) @ t if moved is None else moved,)",
        "a product rule with one of its terms, where both factors move",
        _RULES,
    ),
    Mutation(
        "fastwgan/engine/rules/attention.py",
        "(to_q if t_k is None else to_q + on_tangent @ t_k)",
        "(to_q if t_k is None else to_q + on_tangent.mT @ t_k)",
        "a transpose that does not show where as many keys as queries are there",
        f"{_RULES} {_SPECIAL}",
    ),
    Mutation(
        "fastwgan/engine/rules/attention.py",
        "1 / math.sqrt(query.shape[-1])",
        "1 / math.sqrt(query.shape[1])",
        "the scale of another dimension than the features'",
        f"{_RULES} {_SPECIAL}",
    ),
    Mutation(
        "fastwgan/engine/rules/prelu.py",
        "d * t * (site.input() <= 0)",
        "d * t * (site.input() < 0)",
        "< for ≤ at PReLU's kink",
        f"{_RULES} {_SPECIAL}",
    ),
    Mutation(
        "fastwgan/engine/rules/dropout.py",
        "a = 1 / math.sqrt((alpha * alpha * p + 1) * (1 - p))",
        "a = 1 / math.sqrt((alpha * alpha * p + 1) * p)",
        "p for 1 - p, which is no mistake at p = ½",
        f"{_SPECIAL}::test_dropout",
    ),
    Mutation(
        "fastwgan/engine/rules/activation.py",
        "else summed_rows * positions",
        "else summed_rows",
        "rows of a batch taken for rows of a matrix of positions",
        f"{_LOSS}::test_critic_in_double",
    ),
    Mutation(
        "fastwgan/engine/passes.py",
        "adjoints[slot] = term if before is None else before + term",
        "adjoints[slot] = term if before is None else before.add_(term)",
        "a sum into memory that a residual branch holds too",
        f"{_LOSS}::test_critic_in_double tests/test_penalty_critics.py::test_critic_in_double",
    ),
    Mutation(
        "fastwgan/engine/passes.py",
        "term.clone() if rule.lends else term",
        "term",
        "a gradient that is summed into the memory of an activation",
        f"{_SPECIAL}::test_parameters_with_rows",
    ),
    Mutation(
        "fastwgan/engine/penalty.py",
        "return along.abs().amax() * len(along)",
        "return along.abs().amax()",
        "the steepest share of the mean for the steepest single norm",
        "tests/test_engine_scaling.py",
    ),
    Mutation(
        "fastwgan/engine/losses.py",
        "(-scale / real.numel(), scale / fake.numel())",
        "(-scale / real.shape[0], scale / fake.shape[0])",
        "the mean over samples, not over all scores of a critic of patches",
        f"{_LOSS}::test_critic_in_double",
    ),
    Mutation(
        "fastwgan/engine/critic_step.py",
        'parts.losses[arguments.kind == "r2"]',
        "parts.losses[0]",
        "R2 taken at real samples",
        f"{_LOSS}::test_every_penalty_and_loss",
    ),
    Mutation(
        "fastwgan/engine/joint.py",
        "gradient = found[at.penalty_rows] if has_all",
        "gradient = found[: at.block.rows - at.loss_rows.stop] if has_all",
        "the gradient at the first rows, which are real samples, for that at the penalty's",
        f"{_LOSS}::test_critic_in_double_with_gradients_of_the_samples",
    ),
    Mutation(
        "fastwgan/engine/feedforward_step.py",
        "rows = adjoint[index * batch : (index + 1) * batch]",
        "rows = adjoint[(1 - index) * batch : (2 - index) * batch]",
        "the gradients of real and fake exchanged",
        "tests/engine/test_feedforward.py::test_gradients_of_the_samples",
    ),
    Mutation(
        "fastwgan/engine/feedforward_step.py",
        "rows = memory.reshape(adjoint.shape[0] // term.groups, -1)",
        "rows = memory.reshape(adjoint.shape[0], -1)",
        "groups ignored: a norm for each sample of a pack",
        "tests/engine/test_feedforward.py::test_groups",
    ),
    Mutation(
        "fastwgan/engine/twins/activation.py",
        "return _aten.leaky_relu(x, self.slope), x",
        "return (y := _aten.leaky_relu(x, self.slope)), y",
        "the output saved, whose sign a negative slope loses",
        "tests/engine/test_twins_activation.py",
    ),
    Mutation(
        "fastwgan/engine/twins/convolution.py",
        "            Convolution.apply(t, weight, None, ctx.geometry) if wants_g else None,\n"
        "            WeightGradient.apply(g, t, weight.shape, ctx.geometry)",
        "            Convolution.apply(t, weight, None, ctx.geometry) if wants_g else None,\n"
        "            WeightGradient.apply(g.detach(), t, weight.shape, ctx.geometry)",
        "a detached cotangent: the third derivative is lost, the second is not",
        "tests/engine/test_twins_convolution.py::test_gradcheck "
        "tests/engine/test_twins_convolution.py::test_convolution_is_the_operation",
    ),
    Mutation(
        "fastwgan/penalty_points.py",
        "correction=min(1, wide.numel() - 1)",
        "correction=0",
        "n for n - 1 in DRAGAN's deviation",
        "tests/test_penalty.py::test_the_points",
    ),
    Mutation(
        "fastwgan/penalty_arguments.py",
        "torch.Size([real.shape[0] // groups])",
        "torch.Size([1])",
        "one alpha for the whole batch",
        "tests/test_penalty.py",
    ),
    Mutation(
        "fastwgan/critic_loss_ways.py",
        "return (job.real if real else job.fake).clone(), job.real_args if real else job.fake_args",
        "return (job.real if real else job.fake).clone(), job.real_args",
        "fake samples judged with the labels of real ones",
        f"{_LOSS}::test_further_arguments",
    ),
)
