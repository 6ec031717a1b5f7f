// Exact operations on a few rows of pixels; all levels give the same results.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neuvid {

inline constexpr std::size_t group_rows = 6;       // rows that are multiplied at once
inline constexpr std::size_t group_columns = 16;   // outputs that lie side by side
inline constexpr std::size_t panel_groups = 4;     // groups of columns that are multiplied at once
inline constexpr std::size_t segment_pairs = 128;  // pairs of inputs whose sum fits in 32 bits

inline constexpr std::size_t panel_columns = panel_groups * group_columns;

// [groups][pairs][group_columns][2]: pairs of inputs, zeros where there are none.
struct PackedWeights {
  const std::int16_t* weights;
  const float* steps;  // of each column
  const float* bias;
  std::size_t pairs, groups;
  std::size_t outputs;  // columns that are used, of all groups
};

// Rows as integers times a unit each. There is room for a multiple of group_rows.
struct IntegerRows {
  std::int16_t* integers;  // [rows, 2 * pairs]
  float* units;            // [rows]
  std::size_t count, pairs;
};

// A segment of group_rows rows and of a panel's groups of columns, and the sums of their products.
struct PanelInput {
  const std::int16_t* rows;
  std::size_t row_stride;
  const std::int16_t* columns;
  std::size_t group_stride, pairs;
};
using PanelSums = std::int32_t[group_rows][panel_columns];

struct FloatRows {
  const float* values;
  std::size_t stride;
};

struct DepthwiseInput {
  const float* pixels;  // [batch, height, width, channels]
  std::size_t height, width, channels;
  const float* weights;  // [9, channels]
  const float* bias;
};

struct Kernels {
  const char* level;
  // Rounds `rows.count` rows of `inputs` values.
  void (*round)(FloatRows input, std::size_t inputs, const IntegerRows& rows);
  // The product with `weights`.
  void (*multiply)(const IntegerRows& rows, const PackedWeights& weights, float* output,
                   std::size_t stride);
  // The SiLU of the product.
  void (*activate)(const IntegerRows& rows, const PackedWeights& weights, float* output,
                   std::size_t stride);
  // The sum of the SiLUs of both halves of the product; `weights` are in the order `halves`.
  void (*gate)(const IntegerRows& rows, const PackedWeights& weights, float* output,
               std::size_t stride);
  // (residual + product) + shortcut; `shortcut.values` may be null.
  void (*add)(const IntegerRows& rows, const PackedWeights& weights, FloatRows residual,
              FloatRows shortcut, float* output, std::size_t stride);
  // A 3x3 convolution of each channel, for `count` pixels from `first` on.
  void (*depthwise)(const DepthwiseInput& input, std::size_t first, std::size_t count,
                    float* output);
};

extern const Kernels portable_kernels;
#if defined(NEUVID_X86_KERNELS)
extern const Kernels avx2_kernels;    // AVX2
extern const Kernels avx512_kernels;  // AVX-512 F, BW, VL, DQ and VNNI
#endif

}  // namespace neuvid
