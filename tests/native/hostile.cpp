// Arguments that a contract forbids: each entry answers FW_INVALID_ARGUMENT and writes nothing.
#include <functional>

#include "fastwgan/bias_activation.h"
#include "fastwgan/gradient_penalty.h"
#include "fastwgan/rmsprop.h"
#include "fastwgan/spectral_norm.h"
#include "fastwgan/weight_clip.h"
#include "harness.h"

namespace {

template <class Entry, class... Arguments>
void refused(Entry entry, Arguments... arguments) {
  CHECK(entry(arguments...) == FW_INVALID_ARGUMENT);
}

// More elements than 64 bits count as bytes; two of them more than they count at all.
constexpr int64_t huge = int64_t{1} << 62;

// One byte further than numbers may begin.
template <class T>
T* misaligned(T* numbers) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(numbers) + 1);
}

template <class T, class Clip>
void hostile_weight_clip(Clip clip) {
  Buffer<T> a(5), b(5);
  const Buffer<T> before = a;
  T* tensors[2] = {a.data(), b.data()};
  T* missing[2] = {a.data(), nullptr};
  const int64_t sizes[2] = {5, 5}, negative[2] = {5, -1}, none[2] = {0, 0};
  for (double bound : {0.0, -0.1, static_cast<double>(NAN), -static_cast<double>(INFINITY)})
    refused(clip, tensors, sizes, 2, bound, 1);
  refused(clip, nullptr, sizes, 2, 0.1, 1);
  refused(clip, tensors, nullptr, 2, 0.1, 1);
  refused(clip, tensors, sizes, -1, 0.1, 1);
  refused(clip, missing, sizes, 2, 0.1, 1);
  refused(clip, tensors, negative, 2, 0.1, 1);
  T* crooked[2] = {a.data(), misaligned(b.data())};
  const int64_t beyond[2] = {huge, huge}, fours[2] = {4, 4};
  refused(clip, tensors, beyond, 2, 0.1, 1);
  refused(clip, tensors, sizes, huge, 0.1, 1);
  refused(clip, crooked, fours, 2, 0.1, 1);
  CHECK(clip(missing, none, 2, 0.1, 1) == FW_OK);
  CHECK(clip(nullptr, nullptr, 0, 0.1, 1) == FW_OK);
  CHECK(a == before);
  for (int threads : {0, -7}) CHECK(clip(tensors, sizes, 2, 5.0, threads) == FW_OK);
}

template <class T, class Step>
void hostile_rmsprop(Step step) {
  Buffer<T> p(5), g(5), s(5), m(5), a(5);
  const Buffer<T> before[4] = {p, s, m, a};
  T *ps[1] = {p.data()}, *ss[1] = {s.data()}, *ms[1] = {m.data()}, *as[1] = {a.data()};
  T* missing[1] = {nullptr};
  const T *gs[1] = {g.data()}, *no_gradient[1] = {nullptr};
  const int64_t sizes[1] = {5}, negative[1] = {-5};
  const fw_rmsprop_options good = {0.1, 0.9, 1e-8, 0.0, 0.5, 0.01, 1, 0};
  refused(step, ps, gs, ss, ms, as, sizes, 1, nullptr, 1);
  refused(step, nullptr, gs, ss, ms, as, sizes, 1, &good, 1);
  refused(step, ps, nullptr, ss, ms, as, sizes, 1, &good, 1);
  refused(step, ps, gs, nullptr, ms, as, sizes, 1, &good, 1);
  refused(step, ps, gs, ss, nullptr, as, sizes, 1, &good, 1);
  refused(step, ps, gs, ss, ms, nullptr, sizes, 1, &good, 1);
  refused(step, ps, gs, ss, ms, as, nullptr, 1, &good, 1);
  refused(step, ps, gs, ss, ms, as, sizes, -1, &good, 1);
  refused(step, ps, gs, ss, ms, as, negative, 1, &good, 1);
  refused(step, missing, gs, ss, ms, as, sizes, 1, &good, 1);
  refused(step, ps, no_gradient, ss, ms, as, sizes, 1, &good, 1);
  refused(step, ps, gs, missing, ms, as, sizes, 1, &good, 1);
  refused(step, ps, gs, ss, missing, as, sizes, 1, &good, 1);
  refused(step, ps, gs, ss, ms, missing, sizes, 1, &good, 1);
  T* crooked[1] = {misaligned(p.data())};
  const int64_t four[1] = {4}, beyond[1] = {huge};
  refused(step, ps, gs, ss, ms, as, beyond, 1, &good, 1);
  refused(step, ps, gs, crooked, ms, as, four, 1, &good, 1);
  for (double clip : {0.0, -1.0, static_cast<double>(NAN)}) {
    fw_rmsprop_options bad = good;
    bad.weight_clip = clip;
    refused(step, ps, gs, ss, ms, as, sizes, 1, &bad, 1);
  }
  CHECK(p == before[0] && s == before[1] && m == before[2] && a == before[3]);
  CHECK(step(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, &good, 1) == FW_OK);
}

template <class T, class Interpolate>
void hostile_interpolate(Interpolate mix) {
  Buffer<T> real(12), fake(12), alpha(4), to(12);
  const Buffer<T> before = to;
  const T *r = real.data(), *f = fake.data(), *al = alpha.data();
  refused(mix, nullptr, f, al, to.data(), 4, 3, 4, 1);
  refused(mix, r, nullptr, al, to.data(), 4, 3, 4, 1);
  refused(mix, r, f, nullptr, to.data(), 4, 3, 4, 1);
  refused(mix, r, f, al, nullptr, 4, 3, 4, 1);
  refused(mix, r, f, al, to.data(), -4, 3, 4, 1);
  refused(mix, r, f, al, to.data(), 4, -3, 4, 1);
  refused(mix, r, f, al, to.data(), 4, 3, -4, 1);
  refused(mix, r, f, al, to.data(), 4, 3, 0, 1);
  refused(mix, r, f, al, to.data(), 4, 3, 3, 1);
  refused(mix, r, f, al, to.data(), 4, huge, 4, 1);
  refused(mix, r, f, al, to.data(), huge, huge, 4, 1);
  refused(mix, r, f, al, misaligned(to.data()), 3, 3, 3, 1);
  CHECK(mix(r, f, al, to.data(), huge, 0, 4, 1) == FW_OK);
  CHECK(mix(nullptr, nullptr, nullptr, nullptr, 4, 0, 4, 1) == FW_OK);
  CHECK(mix(nullptr, nullptr, nullptr, nullptr, 0, 3, 0, 1) == FW_OK);
  CHECK(to == before);
}

template <class T, class Norm>
void hostile_norm(Norm norm) {
  Buffer<T> gradient(12), penalty(1), norms(4), cotangent(12);
  const Buffer<T> before[3] = {penalty, norms, cotangent};
  const T* g = gradient.data();
  T *p = penalty.data(), *n = norms.data(), *c = cotangent.data();
  refused(norm, nullptr, 4, 3, 0, 1.0, 1.0, p, n, c, 1);
  refused(norm, g, -4, 3, 0, 1.0, 1.0, p, n, c, 1);
  refused(norm, g, 4, -3, 0, 1.0, 1.0, p, n, c, 1);
  refused(norm, g, 4, 3, -1, 1.0, 1.0, p, n, c, 1);
  refused(norm, g, 4, 3, 3, 1.0, 1.0, p, n, c, 1);
  refused(norm, g, 4, 3, 0, 1.0, 1.0, nullptr, n, c, 1);
  refused(norm, g, 4, 3, 0, 1.0, 1.0, p, nullptr, c, 1);
  refused(norm, g, 4, huge, 0, 1.0, 1.0, p, n, c, 1);
  refused(norm, g, huge, 0, 0, 1.0, 1.0, p, n, c, 1);
  refused(norm, misaligned(g), 3, 3, 0, 1.0, 1.0, p, n, c, 1);
  CHECK(penalty == before[0] && norms == before[1] && cotangent == before[2]);
  CHECK(norm(nullptr, 0, 3, 0, 1.0, 1.0, p, nullptr, nullptr, 1) == FW_OK);
  CHECK(norm(nullptr, 4, 0, 0, 1.0, 1.0, p, n, nullptr, 1) == FW_OK);
}

template <class T, class Forward>
void hostile_forward(Forward run) {
  Buffer<T> w(12), u(3), v(4), out(12), sigma(1), vectors(7);
  const Buffer<T> before[5] = {u, v, out, sigma, vectors};
  const fw_spectral_norm_layer good = {w.data(), u.data(), v.data(), 1, 3, 4};
  const fw_spectral_norm_options once = {1, 0, 1e-12};
  T *outs[1] = {out.data()}, *missing[1] = {nullptr};
  T *s = sigma.data(), *vs = vectors.data();
  refused(run, nullptr, outs, s, vs, 1, &once, 1);
  refused(run, &good, nullptr, s, vs, 1, &once, 1);
  refused(run, &good, outs, nullptr, vs, 1, &once, 1);
  refused(run, &good, outs, s, nullptr, 1, &once, 1);
  refused(run, &good, outs, s, vs, -1, &once, 1);
  refused(run, &good, outs, s, vs, 1, nullptr, 1);
  refused(run, &good, missing, s, vs, 1, &once, 1);
  std::vector<fw_spectral_norm_layer> bad(12, good);
  bad[0].weight = nullptr;
  bad[1].u = nullptr;
  bad[2].v = nullptr;
  bad[3].outer = -1;
  bad[4].rows = -3;
  bad[5].inner = -4;
  bad[6].outer = bad[7].rows = bad[8].inner = huge;
  bad[9].rows = 0;  // and yet there are columns
  bad[9].outer = bad[9].inner = huge;
  bad[10] = {misaligned(w.data()), u.data(), v.data(), 1, 2, 4};
  bad[11] = {w.data(), u.data(), misaligned(v.data()), 1, 3, 3};
  for (const fw_spectral_norm_layer& layer : bad) refused(run, &layer, outs, s, vs, 1, &once, 1);
  for (const fw_spectral_norm_options& options :
       {fw_spectral_norm_options{-1, 0, 1e-12}, fw_spectral_norm_options{1, 0, -1e-12},
        fw_spectral_norm_options{1, 0, static_cast<double>(NAN)}})
    refused(run, &good, outs, s, vs, 1, &options, 1);
  CHECK(u == before[0] && v == before[1] && out == before[2] && sigma == before[3] &&
        vectors == before[4]);
  CHECK(run(nullptr, nullptr, nullptr, nullptr, 0, &once, 1) == FW_OK);
  const fw_spectral_norm_layer empty = {nullptr, u.data(), nullptr, huge, 3, 0};  // ends at once
  CHECK(run(&empty, missing, s, vs, 1, &once, 1) == FW_OK);
}

template <class T, class Backward>
void hostile_backward(Backward run) {
  Buffer<T> cotangent(12), normalised(12), sigma(1), vectors(7), gradient(12);
  const Buffer<T> before = gradient;
  const fw_spectral_norm_layer good = {nullptr, nullptr, nullptr, 1, 3, 4};
  const T *cs[1] = {cotangent.data()}, *ns[1] = {normalised.data()}, *missing[1] = {nullptr};
  T *gs[1] = {gradient.data()}, *no_gradient[1] = {nullptr};
  const T *s = sigma.data(), *vs = vectors.data(), *none = nullptr;
  refused(run, nullptr, cs, ns, s, none, vs, gs, 1, 1);
  refused(run, &good, nullptr, ns, s, none, vs, gs, 1, 1);
  refused(run, &good, cs, nullptr, s, none, vs, gs, 1, 1);
  refused(run, &good, cs, ns, none, none, vs, gs, 1, 1);
  refused(run, &good, cs, ns, s, none, none, gs, 1, 1);
  refused(run, &good, cs, ns, s, none, vs, nullptr, 1, 1);
  refused(run, &good, cs, ns, s, none, vs, gs, -1, 1);
  refused(run, &good, missing, ns, s, none, vs, gs, 1, 1);
  refused(run, &good, cs, missing, s, none, vs, gs, 1, 1);
  refused(run, &good, cs, ns, s, none, vs, no_gradient, 1, 1);
  std::vector<fw_spectral_norm_layer> bad(5, good);
  bad[0].outer = -1;
  bad[1].rows = -3;
  bad[2].inner = -4;
  bad[3].rows = bad[4].inner = huge;
  for (const fw_spectral_norm_layer& layer : bad)
    refused(run, &layer, cs, ns, s, none, vs, gs, 1, 1);
  CHECK(gradient == before);
  CHECK(run(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 1) == FW_OK);
}

template <class T, class Forward, class Backward>
void hostile_bias_activation(Forward forward, Backward backward) {
  Buffer<T> values(12), outputs(12), results(12), sums(4);
  const Buffer<T> before[3] = {values, results, sums};
  T *x = values.data(), *to = results.data(), *into = sums.data(), *none = nullptr;
  const T *y = outputs.data(), *d = values.data(), *missing = nullptr;
  refused(forward, none, missing, 3, 4, 0.2, 1);
  refused(forward, x, missing, -3, 4, 0.2, 1);
  refused(forward, x, missing, 3, -4, 0.2, 1);
  refused(forward, x, missing, 3, 4, -0.2, 1);
  refused(forward, x, missing, 3, 4, static_cast<double>(NAN), 1);
  refused(backward, missing, y, to, 3, 4, 0.2, 3, into, 1);
  refused(backward, d, missing, to, 3, 4, 0.2, 3, into, 1);
  refused(backward, d, y, none, 3, 4, 0.2, 3, into, 1);
  refused(backward, d, y, to, -3, 4, 0.2, 0, into, 1);
  refused(backward, d, y, to, 3, -4, 0.2, 3, into, 1);
  refused(backward, d, y, to, 3, 4, -0.2, 3, into, 1);
  refused(backward, d, y, to, 3, 4, 0.2, 4, into, 1);
  refused(backward, d, y, to, 3, 4, 0.2, -1, into, 1);
  refused(forward, x, missing, huge, 4, 0.2, 1);
  refused(forward, misaligned(x), missing, 2, 4, 0.2, 1);
  refused(backward, d, y, to, huge, 4, 0.2, 3, into, 1);
  refused(backward, d, y, to, 0, huge, 0.2, 0, into, 1);
  refused(backward, d, y, misaligned(to), 2, 4, 0.2, 2, into, 1);
  CHECK(forward(x, missing, huge, 0, 0.2, 1) == FW_OK);  // ends at once
  CHECK(backward(d, y, to, huge, 0, 0.2, huge, into, 1) == FW_OK);
  CHECK(values == before[0] && results == before[1] && sums == before[2]);
  CHECK(forward(nullptr, nullptr, 0, 4, 0.2, 1) == FW_OK);
  CHECK(backward(nullptr, nullptr, nullptr, 0, 4, 0.2, 0, nullptr, 1) == FW_OK);
}

}  // namespace

void check_hostile_arguments() {
  hostile_bias_activation<float>(fw_bias_activation_forward_f32, fw_bias_activation_backward_f32);
  hostile_bias_activation<double>(fw_bias_activation_forward_f64, fw_bias_activation_backward_f64);
  hostile_weight_clip<float>(fw_weight_clip_f32);
  hostile_weight_clip<double>(fw_weight_clip_f64);
  hostile_rmsprop<float>(fw_rmsprop_f32);
  hostile_rmsprop<double>(fw_rmsprop_f64);
  hostile_interpolate<float>(fw_gradient_penalty_interpolate_f32);
  hostile_interpolate<double>(fw_gradient_penalty_interpolate_f64);
  hostile_norm<float>(fw_gradient_penalty_norm_f32);
  hostile_norm<double>(fw_gradient_penalty_norm_f64);
  hostile_forward<float>(fw_spectral_norm_forward_f32);
  hostile_forward<double>(fw_spectral_norm_forward_f64);
  hostile_backward<float>(fw_spectral_norm_backward_f32);
  hostile_backward<double>(fw_spectral_norm_backward_f64);
}
