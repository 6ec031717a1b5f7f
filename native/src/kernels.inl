// The kernels of one level. A source file defines `multiply_panel` for the level, includes this
// one inside an unnamed namespace, and is compiled for the level's instructions. No inline function
// or template of the standard library may be used: the linker would mix the levels' versions.
//
// Every operation on floats is one IEEE 754 operation: contraction to fused ones must be off.

static_assert(FLT_EVAL_METHOD == 0, "floats must be rounded after each operation");

constexpr int activation_bits = 13;
constexpr int exponent_min = -24;  // of the largest value of a row
constexpr int exponent_max = 40;
constexpr float activation_limit = 1 << activation_bits;
constexpr float nearest = 12582912.0f;  // 1.5 * 2^23: adding it rounds to even, below 2^22

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float power_of_two(int exponent) {
  return float_of(static_cast<uint32_t>(exponent + 127) << 23);
}

inline float silu(float x) {
  constexpr float bound = 40.0f;
  constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440054690583e-4f;
  const float bounded = x < -bound ? -bound : x;
  const float negative = -bounded < -bound ? -bound : -bounded;
  const float shifted = negative * 1.4426950408889634f + nearest;
  const float power = shifted - nearest;
  const float rest = (negative - power * ln2_high) - power * ln2_low;
  float series = 1.0f / 720;
  series = series * rest + 1.0f / 120;
  series = series * rest + 1.0f / 24;
  series = series * rest + 1.0f / 6;
  series = series * rest + 0.5f;
  series = series * rest + 1.0f;
  series = series * rest + 1.0f;
  const float exponential = series * float_of((bits_of(shifted) - bits_of(nearest) + 127) << 23);
  return bounded / (exponential + 1.0f);
}

void round_row(const float* __restrict row, size_t inputs, int16_t* __restrict integers,
               float& unit) {
  int32_t largest = 0;
  for (size_t i = 0; i < inputs; ++i) {
    const auto magnitude = static_cast<int32_t>(bits_of(row[i]) & 0x7fffffff);
    largest = magnitude > largest ? magnitude : largest;
  }
  int exponent = (largest >> 23) - 126;
  exponent = exponent < exponent_min ? exponent_min : exponent;
  exponent = exponent > exponent_max ? exponent_max : exponent;
  const float scale = power_of_two(activation_bits - exponent);
  unit = power_of_two(exponent - activation_bits);
  for (size_t i = 0; i < inputs; ++i) {
    float scaled = row[i] * scale;
    scaled = scaled > -activation_limit ? scaled : -activation_limit;  // so is what is no number
    scaled = scaled < activation_limit ? scaled : activation_limit;
    integers[i] = static_cast<int16_t>(bits_of(scaled + nearest) - bits_of(nearest));
  }
}

void round(FloatRows input, size_t inputs, const IntegerRows& rows) {
  const size_t stride = 2 * rows.pairs;
  for (size_t r = 0; r < rows.count; ++r) {
    int16_t* integers = rows.integers + r * stride;
    round_row(input.values + r * input.stride, inputs, integers, rows.units[r]);
    for (size_t i = inputs; i < stride; ++i) integers[i] = 0;
  }
  for (size_t r = rows.count; r % group_rows != 0; ++r)
    std::memset(rows.integers + r * stride, 0, stride * sizeof(int16_t));
}

using Panel = float[group_rows][panel_columns];

// Sums the segments of group_rows rows, a panel of columns wide.
void sum_panel(const int16_t* rows, const PackedWeights& weights, size_t first_group, size_t groups,
               Panel& values) {
  alignas(64) PanelSums sums;
  const size_t group_stride = weights.pairs * 2 * group_columns;
  const int16_t* columns = weights.weights + first_group * group_stride;
  for (size_t first = 0; first < weights.pairs; first += segment_pairs) {
    const size_t rest = weights.pairs - first;
    const size_t pairs = rest < segment_pairs ? rest : segment_pairs;
    multiply_panel({rows + 2 * first, 2 * weights.pairs, columns + first * 2 * group_columns,
                    group_stride, pairs},
                   groups, sums);
    for (size_t r = 0; r < group_rows; ++r)
      for (size_t c = 0; c < groups * group_columns; ++c) {
        const auto sum = static_cast<float>(sums[r][c]);
        values[r][c] = first == 0 ? sum : values[r][c] + sum;
      }
  }
}

// Calls finish(row, first column, values, columns) for each row and panel.
template <class Finish>
inline void for_each_panel(const IntegerRows& rows, const PackedWeights& weights, Finish finish) {
  for (size_t group = 0; group < weights.groups; group += panel_groups) {
    const size_t rest = weights.groups - group;
    const size_t groups = rest < panel_groups ? rest : panel_groups;
    const size_t column = group * group_columns;
    for (size_t first = 0; first < rows.count; first += group_rows) {
      alignas(64) Panel values;
      sum_panel(rows.integers + first * 2 * rows.pairs, weights, group, groups, values);
      for (size_t r = 0; r < group_rows && first + r < rows.count; ++r) {
        const float unit = rows.units[first + r];
        for (size_t c = 0; c < groups * group_columns; ++c)
          values[r][c] =
              values[r][c] * (unit * weights.steps[column + c]) + weights.bias[column + c];
        finish(first + r, column, values[r], groups * group_columns);
      }
    }
  }
}

inline size_t used(size_t columns, size_t first, size_t outputs) {
  return columns < outputs - first ? columns : outputs - first;
}

void multiply(const IntegerRows& rows, const PackedWeights& weights, float* output, size_t stride) {
  for_each_panel(rows, weights,
                 [&](size_t row, size_t column, const float* values, size_t columns) {
                   float* __restrict target = output + row * stride + column;
                   const size_t count = used(columns, column, weights.outputs);
                   for (size_t c = 0; c < count; ++c) target[c] = values[c];
                 });
}

void activate(const IntegerRows& rows, const PackedWeights& weights, float* output, size_t stride) {
  for_each_panel(rows, weights,
                 [&](size_t row, size_t column, const float* values, size_t columns) {
                   float* __restrict target = output + row * stride + column;
                   const size_t count = used(columns, column, weights.outputs);
                   for (size_t c = 0; c < count; ++c) target[c] = silu(values[c]);
                 });
}

void gate(const IntegerRows& rows, const PackedWeights& weights, float* output, size_t stride) {
  for_each_panel(rows, weights, [&](size_t row, size_t column, float* values, size_t columns) {
    for (size_t c = 0; c < columns; ++c) values[c] = silu(values[c]);
    float* __restrict target = output + row * stride + column / 2;
    for (size_t half = 0; half < columns; half += 2 * group_columns) {
      const size_t count = used(group_columns, (column + half) / 2, weights.outputs / 2);
      for (size_t c = 0; c < count; ++c)
        target[half / 2 + c] = values[half + c] + values[half + group_columns + c];
    }
  });
}

void add(const IntegerRows& rows, const PackedWeights& weights, FloatRows residual,
         FloatRows shortcut, float* output, size_t stride) {
  for_each_panel(rows, weights,
                 [&](size_t row, size_t column, const float* values, size_t columns) {
                   float* __restrict target = output + row * stride + column;
                   const float* added = residual.values + row * residual.stride + column;
                   const size_t count = used(columns, column, weights.outputs);
                   for (size_t c = 0; c < count; ++c) target[c] = added[c] + values[c];
                   if (!shortcut.values) return;
                   added = shortcut.values + row * shortcut.stride + column;
                   for (size_t c = 0; c < count; ++c) target[c] = target[c] + added[c];
                 });
}

struct Taps {
  const float* pixels[9];
  const float* weights[9];
  size_t count;
};

Taps taps_of(const DepthwiseInput& input, size_t pixel) {
  Taps taps;
  taps.count = 0;
  const size_t x = pixel % input.width, y = pixel / input.width % input.height;
  for (size_t tap = 0; tap < 9; ++tap) {
    const size_t row = y + tap / 3, column = x + tap % 3;  // of the picture with its border
    if (row < 1 || row > input.height || column < 1 || column > input.width) continue;
    const size_t place = pixel + (tap / 3) * input.width + tap % 3 - input.width - 1;
    taps.pixels[taps.count] = input.pixels + place * input.channels;
    taps.weights[taps.count++] = input.weights + tap * input.channels;
  }
  return taps;
}

template <size_t lanes>
inline void depthwise_lanes(const Taps& taps, const float* bias, size_t channel, float* output) {
  float total[lanes];
  for (size_t i = 0; i < lanes; ++i) total[i] = bias[channel + i];
  for (size_t tap = 0; tap < taps.count; ++tap) {
    const float* __restrict pixel = taps.pixels[tap] + channel;
    const float* __restrict weights = taps.weights[tap] + channel;
    for (size_t i = 0; i < lanes; ++i) total[i] = total[i] + pixel[i] * weights[i];
  }
  for (size_t i = 0; i < lanes; ++i) output[channel + i] = total[i];
}

void depthwise(const DepthwiseInput& input, size_t first, size_t count, float* output) {
  constexpr size_t lanes = 16;
  for (size_t pixel = first; pixel < first + count; ++pixel, output += input.channels) {
    const Taps taps = taps_of(input, pixel);
    size_t channel = 0;
    for (; channel + lanes <= input.channels; channel += lanes)
      depthwise_lanes<lanes>(taps, input.bias, channel, output);
    for (; channel < input.channels; ++channel)
      depthwise_lanes<1>(taps, input.bias, channel, output);
  }
}

constexpr Kernels kernels(const char* level) {
  return {level, round, multiply, activate, gate, add, depthwise};
}
