#include "spectral_plan.cuh"

namespace fastwgan {
namespace {

constexpr int64_t warps = block_threads / warp_size;

int64_t at_least(int64_t value, int64_t least) { return value < least ? least : value; }

// Enough tiles to fill a device, few enough that reading their sums again costs little: at most 8
// splits of the sums over rows, and rows of S b that weigh more than the vector they are
// multiplied with.
Layer planned(int64_t outer, int64_t rows, int64_t inner, int64_t lanes) {
  Layer layer = {};
  layer.swapped = inner == 1 && outer > 1;
  layer.outer = layer.swapped ? 1 : outer;
  layer.rows = layer.swapped ? outer : rows;
  layer.inner = layer.swapped ? rows : inner;
  layer.rows_per_split = at_least(ceil_div(layer.rows, 8 * warps) * warps, 128);
  layer.splits = ceil_div(layer.rows, layer.rows_per_split);
  layer.strips = ceil_div(layer.columns(), warp_size * lanes);
  layer.rows_per_warp = layer.rows < 512 ? 1 : layer.rows < 2048 ? 2 : 4;
  layer.flat_size = at_least(ceil_div(layer.size(), 512 * 4096), 1) * 4096;
  layer.flat_tiles = ceil_div(layer.size(), layer.flat_size);
  return layer;
}

int64_t lanes_of_dtype(int dtype) {
  int64_t lanes = 0;
  for_dtype(dtype, [&](auto zero) {
    lanes = lanes_of<decltype(zero)>;
    return int{FW_OK};
  });
  return lanes;
}

}  // namespace
}  // namespace fastwgan

int64_t fw_cuda_spectral_norm_by_value(void) { return fastwgan::layers_by_value; }

int64_t fw_cuda_spectral_norm_plan_bytes(int64_t count) {
  return count * static_cast<int64_t>(sizeof(fastwgan::Layer));
}

int fw_cuda_spectral_norm_plan(const int64_t* extents, int64_t count, int dtype, void* plan,
                               fw_cuda_spectral_norm_totals* totals) {
  using namespace fastwgan;
  const int64_t lanes = lanes_of_dtype(dtype);
  if (count < 0 || lanes == 0 || totals == nullptr ||
      (count > 0 && (extents == nullptr || plan == nullptr)))
    return FW_INVALID_ARGUMENT;
  for (int64_t i = 0; i < 3 * count; ++i)
    if (extents[i] < 0) return FW_INVALID_ARGUMENT;
  *totals = {};
  totals->layers = count;
  int64_t sums = 0;
  for (int64_t i = 0; i < count; ++i) {
    Layer layer = planned(extents[3 * i], extents[3 * i + 1], extents[3 * i + 2], lanes);
    layer.vectors = totals->vectors;
    layer.products = sums;
    layer.partial = sums + layer.rows;
    layer.first_flat_tile = totals->flat_tiles;
    for (const int half : {half_v, half_u}) {
      layer.first_tile[half] = totals->tiles[half];
      totals->tiles[half] += layer.is_row_step(half)
                                 ? ceil_div(layer.rows, layer.rows_per_warp * warps)
                                 : layer.strips * layer.splits;
    }
    totals->flat_tiles += layer.flat_tiles;
    totals->vectors += layer.rows + layer.columns();
    sums += layer.rows + layer.splits * layer.columns();
    std::memcpy(static_cast<Layer*>(plan) + i, &layer, sizeof layer);
  }
  const int64_t doubles = sums > totals->flat_tiles ? sums : totals->flat_tiles;
  totals->scratch = doubles * static_cast<int64_t>(sizeof(double));
  return FW_OK;
}
