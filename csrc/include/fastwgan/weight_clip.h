// Weight clipping: every element x of every tensor becomes min(max(x, -bound), bound); NaN stays.
//
// tensors [count] pointers to memory of sizes[i] elements each; tensors must not
// overlap. bound > 0 and not NaN. A size of zero allows a null pointer. Each element is read and
// written once. Any number of threads gives the same result.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

int fw_weight_clip_f32(float* const* tensors, const int64_t* sizes, int64_t count, double bound,
                       int threads);
int fw_weight_clip_f64(double* const* tensors, const int64_t* sizes, int64_t count, double bound,
                       int threads);

#ifdef __cplusplus
}
#endif
