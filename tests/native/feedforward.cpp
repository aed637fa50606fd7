// A feed-forward critic's scores and gradients: right, the same for any number of threads and
// whatever else is asked for, and nothing beside them written.
#include "feedforward.h"

#include <algorithm>

namespace {

using Numbers = std::vector<double>;

size_t at(int64_t index) { return static_cast<size_t>(index); }

// Calls run(output, weight, input), their places in memory, for each product of a layer at one row.
template <class Run>
void for_each_product(const fw_feedforward_layer& l, const Run& run) {
  const Pair out = positions_of(l);
  for (int64_t oy = 0; oy < out.height; ++oy)
    for (int64_t ox = 0; ox < out.width; ++ox)
      for (int64_t ky = 0; ky < l.kernel_height; ++ky)
        for (int64_t kx = 0; kx < l.kernel_width; ++kx) {
          const int64_t y = oy * l.stride_height + ky - l.padding_height;
          const int64_t x = ox * l.stride_width + kx - l.padding_width;
          if (y < 0 || y >= l.height || x < 0 || x >= l.width) continue;
          for (int64_t o = 0; o < l.outputs; ++o)
            for (int64_t c = 0; c < l.channels; ++c)
              run(at((oy * out.width + ox) * l.outputs + o),
                  at(((o * l.channels + c) * l.kernel_height + ky) * l.kernel_width + kx),
                  at((y * l.width + x) * l.channels + c));
        }
}

// One row through the critic by plain loops in double.
template <class T>
struct Row {
  std::vector<Numbers> inputs, factors;  // by layer: its inputs, and d output / d product
  Numbers scores;
  double nearest_kink = INFINITY;

  Row(const FeedforwardCritic<T>& critic, int64_t row) {
    Numbers x(critic.samples.data() + row * critic.sample,
              critic.samples.data() + (row + 1) * critic.sample);
    for (const fw_feedforward_layer& layer : critic.layers) {
      const auto slope = static_cast<double>(static_cast<T>(layer.slope));
      Numbers z = product(layer, x), factor(z.size(), 1.0);
      for (size_t i = 0; i < z.size(); ++i) {
        const size_t output = i % at(layer.outputs);
        if (layer.bias) z[i] += static_cast<const T*>(layer.bias)[output];
        if (slope != 1) nearest_kink = std::fmin(nearest_kink, std::fabs(z[i]));
        if (!(z[i] > 0)) factor[i] = slope;
        if (layer.mask)
          factor[i] *= static_cast<const T*>(layer.mask)[at(row * layer.outputs) + output];
        z[i] *= factor[i];
      }
      inputs.push_back(x);
      factors.push_back(factor);
      x = z;
    }
    scores = x;
  }

  static Numbers product(const fw_feedforward_layer& layer, const Numbers& x) {
    const T* weight = static_cast<const T*>(layer.weight);
    Numbers sums(at(outputs_of(layer)));
    for_each_product(layer, [&](size_t o, size_t w, size_t i) { sums[o] += weight[w] * x[i]; });
    return sums;
  }
  static Numbers transpose(const fw_feedforward_layer& layer, const Numbers& d) {
    const T* weight = static_cast<const T*>(layer.weight);
    Numbers sums(at(layer.channels * layer.height * layer.width));
    for_each_product(layer, [&](size_t o, size_t w, size_t i) { sums[i] += weight[w] * d[o]; });
    return sums;
  }
};

Numbers times(Numbers a, const Numbers& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] *= b[i];
  return a;
}

template <class T>
struct Expected {
  Numbers scores, gradient;  // at all rows
  std::vector<Numbers> of_weights, of_biases;

  explicit Expected(const FeedforwardCritic<T>& critic) {
    for (const Buffer<T>& weight : critic.weights) of_weights.emplace_back(at(weight.size()));
    for (const Buffer<T>& bias : critic.biases) of_biases.emplace_back(at(bias.size()));
    for (int64_t row = 0; row < critic.sizes.rows; ++row) add(critic, row);
  }

 private:
  void add(const FeedforwardCritic<T>& critic, int64_t r) {
    const Row<T> row(critic, r);
    scores.insert(scores.end(), row.scores.begin(), row.scores.end());
    const T* seeds = critic.seeds.data() + r * critic.scores;
    Numbers d(seeds, seeds + critic.scores);
    std::vector<Numbers> cotangents(critic.layers.size());
    for (size_t l = critic.layers.size(); l-- > 0;) {
      cotangents[l] = times(d, row.factors[l]);
      d = Row<T>::transpose(critic.layers[l], cotangents[l]);
    }
    gradient.insert(gradient.end(), d.begin(), d.end());
    const int64_t moving = r - critic.sizes.loss_rows;
    if (moving < 0) {
      add_products(critic, cotangents, row.inputs);
      for (size_t l = 0; l < cotangents.size(); ++l)
        for (size_t i = 0; i < cotangents[l].size(); ++i)
          of_biases[l][i % of_biases[l].size()] += cotangents[l][i];
      return;
    }
    const T* start = critic.start.data() + moving * critic.sample;
    std::vector<Numbers> tangents = {Numbers(start, start + critic.sample)};
    for (size_t l = 0; l + 1 < critic.layers.size(); ++l)
      tangents.push_back(times(Row<T>::product(critic.layers[l], tangents[l]), row.factors[l]));
    add_products(critic, cotangents, tangents);
  }

  void add_products(const FeedforwardCritic<T>& critic, const std::vector<Numbers>& d,
                    const std::vector<Numbers>& x) {
    for (size_t l = 0; l < critic.layers.size(); ++l)
      for_each_product(critic.layers[l], [&](size_t o, size_t w, size_t i) {
        of_weights[l][w] += d[l][o] * x[l][i];
      });
  }
};

// What a call writes: NaN before it, between canaries, or in a block that ends where it does.
template <class T>
struct Output {
  int64_t canaries;
  Buffer<T> block;

  Output(int64_t size, int64_t canaries) : canaries(canaries), block(size + 2 * canaries, 1) {
    for (int64_t i = 0; i < block.size(); ++i) block[i] = is_canary(i) ? T(7) : static_cast<T>(NAN);
  }
  int64_t size() const { return block.size() - 2 * canaries; }
  T* data() { return block.data() + canaries; }
  const T* data() const { return block.data() + canaries; }
  bool is_canary(int64_t i) const { return i < canaries || i >= canaries + size(); }
  void check_canaries() const {
    for (int64_t i = 0; i < block.size(); ++i) CHECK(!is_canary(i) || block[i] == T(7));
  }
  bool operator==(const Output& other) const {
    return size() == other.size() &&
           (size() == 0 || std::memcmp(data(), other.data(), at(size()) * sizeof(T)) == 0);
  }
};

struct Manner {
  int threads;
  int64_t canaries;
  bool of_all;
  unsigned unwanted;   // bits: weight and bias of layer 0, of layer 1, ...
  bool apart = false;  // a step of the loss's rows, completed by one of the penalty's

  bool wants(size_t tensor) const { return (unwanted >> tensor & 1) == 0; }
};

template <class T>
struct Outcome {
  Output<T> scores, gradient;
  std::vector<Output<T>> tensors;  // weight and bias of layer 0, of layer 1, ...

  Outcome(const FeedforwardCritic<T>& c, const Manner& manner)
      : scores(c.sizes.rows * c.scores, manner.canaries),
        gradient((c.sizes.rows - (manner.of_all ? 0 : c.sizes.loss_rows)) * c.sample,
                 manner.canaries) {
    for (size_t l = 0; l < c.layers.size(); ++l) {
      tensors.emplace_back(c.weights[l].size(), manner.canaries);
      tensors.emplace_back(c.biases[l].size(), manner.canaries);
    }
    run(c, manner);
    scores.check_canaries();
    gradient.check_canaries();
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i].check_canaries();
      for (int64_t j = 0; j < tensors[i].size(); ++j)
        CHECK(std::isnan(tensors[i].data()[j]) != manner.wants(i));
    }
  }

 private:
  void run(const FeedforwardCritic<T>& c, const Manner& manner) {
    std::vector<T*> weights, biases;
    for (size_t i = 0; i < tensors.size(); ++i)
      (i % 2 ? biases : weights).push_back(manner.wants(i) ? tensors[i].data() : nullptr);
    const int64_t rows = c.sizes.rows, loss_rows = c.sizes.loss_rows;
    if (!manner.apart) {
      Calls calls(c, c.layers, 0, rows, loss_rows, manner.threads);
      calls.until_backward(*this, manner.of_all, weights, biases);
      calls.tangent(loss_rows > 0, weights);
      return;
    }
    std::vector<fw_feedforward_layer> others = c.layers;
    for (fw_feedforward_layer& layer : others)
      if (layer.mask != nullptr)
        layer.mask = static_cast<const T*>(layer.mask) + loss_rows * layer.outputs;
    Calls losses(c, c.layers, 0, loss_rows, loss_rows, manner.threads);
    losses.until_backward(*this, manner.of_all, weights, biases);
    Calls penalised(c, others, loss_rows, rows - loss_rows, 0, manner.threads);
    const std::vector<T*> none(weights.size(), nullptr);
    penalised.until_backward(*this, manner.of_all, none, none);
    penalised.tangent(true, weights);
  }

  // The calls of a step of some of the critic's rows.
  class Calls {
   public:
    Calls(const FeedforwardCritic<T>& critic, const std::vector<fw_feedforward_layer>& layers,
          int64_t first_row, int64_t rows, int64_t loss_rows, int threads)
        : c_(critic), first_row_(first_row) {
      step_ = {layers.data(), static_cast<int64_t>(layers.size()), rows, loss_rows, nullptr,
               threads};
      const int64_t elements = fw_feedforward_critic_workspace(&step_);
      CHECK(elements > 0);
      workspace_.assign(at(elements) + 1, static_cast<T>(NAN));
      step_.workspace = workspace_.data() + 1;
    }

    void until_backward(Outcome& to, bool of_all, const std::vector<T*>& weights,
                        const std::vector<T*>& biases) {
      const T* samples = c_.samples.data() + first_row_ * c_.sample;
      CHECK(E::forward(&step_, samples, to.scores.data() + first_row_ * c_.scores) == FW_OK);
      const bool is_written = of_all || step_.loss_rows < step_.rows;
      T* gradient =
          is_written ? to.gradient.data() + (of_all ? first_row_ * c_.sample : 0) : nullptr;
      CHECK(E::backward(&step_, samples, seeds(), of_all, weights.data(), biases.data(),
                        gradient) == FW_OK);
    }

    void tangent(bool adds, const std::vector<T*>& weights) {
      const T* start = c_.start.size() > 0 ? c_.start.data() : nullptr;
      CHECK(E::tangent(&step_, seeds(), start, adds, weights.data()) == FW_OK);
    }

   private:
    using E = FeedforwardEntries<T>;
    const T* seeds() const { return c_.seeds.data() + first_row_ * c_.scores; }

    const FeedforwardCritic<T>& c_;
    int64_t first_row_;
    fw_feedforward_step step_;
    std::vector<T> workspace_;
  };
};

template <class T>
void check_numbers(const T* actual, const double* expected, int64_t size, bool is_exact) {
  double scale = 1;
  for (int64_t i = 0; i < size; ++i) scale = std::fmax(scale, std::fabs(expected[i]));
  for (int64_t i = 0; i < size; ++i)
    CHECK(is_exact ? double{actual[i]} == expected[i] : close<T>(actual[i], expected[i], scale));
}

template <class T>
void check_outcome(const FeedforwardCritic<T>& c, const Outcome<T>& found) {
  const Expected<T> expected(c);
  const bool is_exact = c.is_exact();
  check_numbers(found.scores.data(), expected.scores.data(), found.scores.size(), is_exact);
  const auto first = static_cast<int64_t>(expected.gradient.size()) - found.gradient.size();
  check_numbers(found.gradient.data(), expected.gradient.data() + first, found.gradient.size(),
                is_exact);
  for (size_t i = 0; i < found.tensors.size(); ++i) {
    const auto& all = i % 2 ? expected.of_biases : expected.of_weights;
    check_numbers(found.tensors[i].data(), all[i / 2].data(), found.tensors[i].size(), is_exact);
  }
}

// Rounding decides on which side of its kink a unit falls that is next to it.
template <class T>
void leave_kinks(FeedforwardCritic<T>& critic) {
  for (int64_t row = 0; row < critic.sizes.rows && !critic.is_exact(); ++row)
    while (Row<T>(critic, row).nearest_kink < 1e-4)
      for (int64_t i = 0; i < critic.sample; ++i)
        critic.samples[row * critic.sample + i] = static_cast<T>(random_number());
}

template <class T>
void feedforward_of(const Sizes& sizes, int threads) {
  FeedforwardCritic<T> critic(sizes);
  leave_kinks(critic);
  const FeedforwardCritic<T> before = critic;
  const Outcome<T> single(critic, {1, 0, true, 0}), shared(critic, {threads, 16, false, 0});
  check_outcome(critic, single);
  CHECK(single.scores == shared.scores && single.tensors == shared.tensors);
  if (sizes.loss_rows > 0 && sizes.loss_rows < sizes.rows) {
    const Outcome<T> apart(critic, {threads, 16, true, 0, true});
    CHECK(single.scores == apart.scores && single.tensors == apart.tensors);
    CHECK(single.gradient == apart.gradient);
  }
  const int64_t of_loss = sizes.loss_rows * critic.sample;
  for (int64_t i = 0; i < shared.gradient.size(); ++i)
    CHECK(shared.gradient.data()[i] == single.gradient.data()[of_loss + i]);
  for (unsigned unwanted : {0x5u, 0xau, 0x33u, ~0u}) {
    const Manner manner = {threads, 0, true, unwanted};
    const Outcome<T> some(critic, manner);
    CHECK(some.scores == single.scores && some.gradient == single.gradient);
    for (size_t i = 0; i < some.tensors.size(); ++i)
      CHECK(!manner.wants(i) || some.tensors[i] == single.tensors[i]);
  }
  CHECK(critic.samples == before.samples && critic.seeds == before.seeds);
  CHECK(critic.start == before.start && critic.weights == before.weights);
  CHECK(critic.biases == before.biases && critic.masks == before.masks);
}

const std::vector<Form> two_convolutions = {{17, {3, 3}, {2, 1}, {1, 1}}, {9, {2, 3}}, {5}, {1}};

std::vector<Sizes> all_sizes() {
  std::vector<Sizes> all = {
      {1, 0, 1, {1, 1}, {{1}}},
      {5, 3, 33, {1, 1}, {{2}}},
      {300, 200, 70, {1, 1}, {{97}, {33}, {1}}},
      {2, 1, 300, {1, 1}, {{520}, {1}}},
      {520, 260, 9, {1, 1}, {{33}, {1}}, 0.0, true, true},
      {3, 2, 64, {5, 5}, {{17, {3, 3}, {1, 1}, {1, 1}}, {2, {2, 2}}}},  // depth 576
      {3, 1, 2, {17, 16}, {{9, {3, 3}}, {1}}},                          // above 96 patches a row
      {40, 21, 1, {5, 5}, {{7, {2, 2}}, {1}}},                          // above 256 positions
      {4, 2, 3, {4, 3}, {{5, {3, 3}, {1, 2}, {5, 2}}, {1}}},            // patches of padding alone
      {4, 3, 3, {7, 8}, {{5, {2, 1}, {3, 2}}, {3, {1, 1}}, {1}}, 2.0},  // samples not all seen
      {5, 2, 3, {4, 5}, {{6}, {7, {3, 3}, {1, 1}, {1, 1}}, {2}}, 0.5, true, true},
      {5, 2, 3, {4, 5}, {{4, {4, 5}, {1, 1}, {1, 0}}, {2, {2, 1}}}},
      {6, 4, 3, {2, 2}, {{4, {2, 2}, {INT64_MAX, INT64_MAX}}, {1}}},
      {20, 12, 17, {9, 9}, {{33, {3, 3}, {2, 2}, {1, 1}}, {35, {4, 4}}, {7}, {1}}},
  };
  for (double slope : {0.0, 0.2, 0.5, 1.0})
    for (int64_t loss_rows : {0, 1, 8, 13}) {
      const bool biased = loss_rows != 8, masked = loss_rows != 1;
      all.push_back({13, loss_rows, 33, {1, 1}, {{65}, {31}, {2}}, slope, biased, masked});
      all.push_back({13, loss_rows, 3, {7, 6}, two_convolutions, slope, biased, masked});
    }
  return all;
}

}  // namespace

void check_feedforward_critic(int threads) {
  for (const Sizes& sizes : all_sizes()) {
    feedforward_of<float>(sizes, threads);
    feedforward_of<double>(sizes, threads);
  }
}
