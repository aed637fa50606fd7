"""Mistakes in the trainer: its steps, its checkpoints, its measures."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

_LOOP = "tests/train/test_loop.py"
_CHECKPOINT = "tests/train/test_checkpoint.py"
_PROCESSES = "tests/train/test_processes.py"

MUTATIONS = (
    Mutation(
        "fastwgan/train/loop.py",
        "return loss if self.config.accumulate == 1 else loss / self.config.accumulate",
        "return loss",
        "the sum of the parts' means for the mean of the batch",
        f"{_LOOP}::test_parts_of_a_batch_give_the_gradients_of_the_whole",
    ),
    Mutation(
        "fastwgan/train/loop.py",
        '        measured["generator_loss"] = self.generator_step()\n'
        "        self._update_average()\n",
        "        self._update_average()\n"
        '        measured["generator_loss"] = self.generator_step()\n',
        "the average updated before the step",
        f"{_LOOP}::test_the_average_lags_behind_the_generator",
    ),
    Mutation(
        "fastwgan/train/loop.py",
        "self._share(loss).backward(inputs=_stepped(self.generator_optimizer))",
        "self._share(loss).backward()",
        "the generator's gradient left in the critic's weights",
        f"{_LOOP}::test_a_generator_step_leaves_the_critic_alone",
    ),
    Mutation(
        "fastwgan/train/loop.py",
        "weight = every * (config.penalty_weight or 0.0)",
        "weight = config.penalty_weight or 0.0",
        "a lazy penalty that is not made up for by its weight",
        f"{_LOOP}::test_a_lazy_penalty_comes_every_few_critic_steps_with_its_weight_times_as_many",
    ),
    Mutation(
        "fastwgan/train/loop.py",
        "torch.rand(size, generator=self._noise, device=self.device))",
        "torch.rand(1, generator=self._noise, device=self.device).expand(size))",
        "one alpha for the whole batch",
        f"{_LOOP}::test_every_row_of_a_batch_has_a_place_of_its_own",
    ),
    Mutation(
        "fastwgan/train/training_state.py",
        '        self._noise.set_state(state["random"]["noise"])\n',
        "",
        "a run that goes on with the noise it began with",
        f"{_LOOP}::test_a_trainer_goes_on_from_its_state_bit_for_bit",
    ),
    Mutation(
        "fastwgan/train/training_state.py",
        '_PARTS = ("generator", "average", "critic", "critic_optimizer", "generator_optimizer")',
        '_PARTS = ("generator", "average", "critic", "critic_optimizer")',
        "an optimizer's moments left out of the checkpoint",
        f"{_LOOP}::test_a_trainer_goes_on_from_its_state_bit_for_bit",
    ),
    Mutation(
        "fastwgan/train/loop.py",
        "self._penalty = penalty if every == 1 else penalty / every",
        "self._penalty = penalty",
        "a lazy penalty shown with the weight that makes up for the steps without it",
        f"{_LOOP}::test_a_lazy_penalty_is_shown_with_its_own_weight_until_the_next",
    ),
    Mutation(
        "fastwgan/train/loop.py",
        "            fake = self._generate(self._latent(), labels)\n",
        "            self._latent()\n            fake = self._generate(self._latent(), labels)\n",
        "the random stream used once more: the same on every backend",
        f"{_LOOP}::test_the_critics_loss_is_the_named_one",
    ),
    Mutation(
        "fastwgan/train/batches.py",
        "        self._epoch_state = self._generator.get_state()\n"
        "        order = torch.randperm(len(self._values), generator=self._generator)\n",
        "        order = torch.randperm(len(self._values), generator=self._generator)\n"
        "        self._epoch_state = self._generator.get_state()\n",
        "a run that goes on in the order of the next epoch",
        "tests/train/test_batches.py",
    ),
    Mutation(
        "fastwgan/train/batches.py",
        "self._position + self._batch_size > len(self._order)",
        "self._position + self._batch_size >= len(self._order)",
        "≥ for >: an epoch's last whole batch left out",
        "tests/train/test_batches.py",
    ),
    Mutation(
        "fastwgan/train/optimizers.py",
        "left = 1 - step / config.steps",
        "left = 1 - (step + 1) / config.steps",
        "a decay that is one step ahead",
        f"{_LOOP}::test_learning_rates_fall_to_zero_where_asked",
    ),
    Mutation(
        "fastwgan/train/generator_losses.py",
        "softplus(real_scores() - fake_scores)",
        "softplus(fake_scores - real_scores())",
        "the critic's sign in the generator's loss",
        f"{_LOOP}::test_the_generators_loss_is_the_named_one",
    ),
    Mutation(
        "fastwgan/train/sealing.py",
        "_LONGEST_SEAL = 256",
        "_LONGEST_SEAL = 104",
        "as many bytes read as the seal of a step of two digits has",
        f"{_CHECKPOINT}::test_the_seal_of_a_late_step_is_found_whole",
    ),
    Mutation(
        "fastwgan/train/sealing.py",
        "digest = hashlib.sha256(begin)\n    digest.update(end)",
        "digest = hashlib.sha256(archive)\n    digest.update(end)",
        "a checksum over bytes that are not those written",
        f"{_CHECKPOINT}::test_the_one_before_is_kept",
    ),
    Mutation(
        "fastwgan/train/sealing.py",
        "        digest.update(block)\n",
        "        digest = hashlib.sha256(block)\n",
        "a checksum over the last block read, which is all of a small file",
        f"{_CHECKPOINT}::test_a_flipped_bit_in_a_large_checkpoint_is_found",
    ),
    Mutation(
        "fastwgan/train/checkpoint.py",
        "kept is None or kept >= step",
        "kept is None or kept > step",
        "≥ for >: a checkpoint that replaces the one before by one of its own step",
        f"{_CHECKPOINT}::test_going_on_from_the_one_before_keeps_it "
        f"{_CHECKPOINT}::test_the_one_before_is_kept",
    ),
    Mutation(
        "fastwgan/train/checkpoint.py",
        "                os.fsync(file.fileno())\n            _keep_previous",
        "            _keep_previous",
        "a name that is on the disk before its bytes are",
        f"{_CHECKPOINT}::test_new_bytes_are_on_the_disk_before_their_name_is",
    ),
    Mutation(
        "fastwgan/train/metrics.py",
        "not _step(line) <= last_step",
        "not _step(line) < last_step",
        "< for ≤: the line of the checkpoint's own step cut off",
        "tests/train/test_run.py::test_a_stopped_run_goes_on_bit_for_bit",
    ),
    Mutation(
        "fastwgan/train/synced_batch_norm.py",
        "variance.detach() * (rows / (rows - 1))",
        "variance.detach()",
        "n for n - 1 in the running variance",
        f"{_PROCESSES}::test_a_synced_batch_norm_is_that_of_the_whole_batch",
    ),
    Mutation(
        "fastwgan/train/synced_batch_norm.py",
        "variances.mean(0) + (means - mean).square().mean(0)",
        "variances.mean(0)",
        "the variance within processes for that over all rows",
        f"{_PROCESSES}::test_a_synced_batch_norm_is_that_of_the_whole_batch",
    ),
    Mutation(
        "fastwgan/train/fidelity.py",
        "- 2 * crossed",
        "- crossed",
        "a missing factor 2 in the Fréchet distance",
        "tests/train/test_fidelity.py",
    ),
    Mutation(
        "fastwgan/train/fidelity.py",
        "apart.kthvalue(neighbour + 1, dim=1)",
        "apart.kthvalue(neighbour, dim=1)",
        "each row counted as its own nearest neighbour",
        "tests/train/test_fidelity.py",
    ),
    Mutation(
        "fastwgan/train/kantorovich.py",
        "alpha = torch.rand(len(first) // pack, generator=stream).repeat_interleave(pack)",
        "alpha = torch.rand(len(first) // pack, generator=stream).repeat(pack)",
        "the points of a pack at different places of their segments",
        "tests/train/test_kantorovich.py",
    ),
)
