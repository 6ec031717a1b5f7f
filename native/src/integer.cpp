#include "integer.h"

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "pool.h"

namespace neuvid {
namespace {

using std::int16_t;
using std::size_t;

constexpr size_t tile_pixels = 48;  // that a thread takes at once: its buffers stay in the cache

size_t divide_up(size_t value, size_t divisor) { return (value + divisor - 1) / divisor; }

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// Room for a tile's rows as integers.
class Rounded {
 public:
  Rounded(const Kernels& kernels, size_t most_inputs)
      : kernels_(kernels), integers_(new int16_t[tile_pixels * 2 * divide_up(most_inputs, 2)]) {}

  const IntegerRows& of(FloatRows rows, size_t count, size_t inputs) {
    rows_ = {integers_.get(), units_, count, divide_up(inputs, 2)};
    kernels_.round(rows, inputs, rows_);
    return rows_;
  }

 private:
  static_assert(tile_pixels % group_rows == 0);
  const Kernels& kernels_;
  std::unique_ptr<int16_t[]> integers_;
  float units_[tile_pixels];
  IntegerRows rows_;
};

std::unique_ptr<float[]> floats(size_t size) { return std::unique_ptr<float[]>(new float[size]); }

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> found = {&portable_kernels};
#if defined(NEUVID_X86_KERNELS)
  if (__builtin_cpu_supports("avx2")) found.push_back(&avx2_kernels);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni"))
    found.push_back(&avx512_kernels);
#endif
  return found;
}

}  // namespace

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  for (const Kernels* kernels : available_kernels()) names.push_back(kernels->level);
  return names;
}

const Kernels& kernels_of(const std::string& level) {
  for (const Kernels* kernels : available_kernels())
    if (level == kernels->level) return *kernels;
  throw std::invalid_argument("no kernels of the level " + level);
}

Matrix::Matrix(std::span<const int16_t> weights, std::span<const float> steps,
               std::span<const float> bias)
    : outputs(steps.size()),
      inputs(steps.empty() ? 0 : weights.size() / steps.size()),
      weights(weights.begin(), weights.end()),
      steps(steps.begin(), steps.end()),
      bias(bias.begin(), bias.end()) {
  require(inputs > 0 && inputs * outputs == weights.size() && bias.size() == outputs,
          "weights, steps and bias must belong together");
}

PackedMatrix::PackedMatrix(const Matrix& matrix, Order order)
    : outputs_(matrix.outputs), pairs_(divide_up(matrix.inputs, 2)) {
  const size_t parts = order == Order::halves ? 2 : 1;
  require(outputs_ % parts == 0, "the number of outputs must be even");
  const size_t part = outputs_ / parts;
  const size_t columns = divide_up(part, group_columns) * group_columns * parts;
  weights_.resize(columns * 2 * pairs_);
  steps_.resize(columns);
  bias_.resize(columns);
  for (size_t output = 0; output < outputs_; ++output) {
    const size_t inside = output % part;  // of its half
    const size_t group = inside / group_columns * parts + output / part;
    const size_t lane = inside % group_columns;
    steps_[group * group_columns + lane] = matrix.steps[output];
    bias_[group * group_columns + lane] = matrix.bias[output];
    for (size_t input = 0; input < matrix.inputs; ++input)
      weights_[((group * pairs_ + input / 2) * group_columns + lane) * 2 + input % 2] =
          matrix.weights[output * matrix.inputs + input];
  }
}

PackedWeights PackedMatrix::view() const {
  return {weights_.data(), steps_.data(), bias_.data(), pairs_, steps_.size() / group_columns,
          outputs_};
}

Convolution::Convolution(const Matrix& matrix, Geometry geometry, const std::string& level)
    : matrix_(matrix),
      inputs_(matrix.inputs),
      outputs_(matrix.outputs),
      geometry_(geometry),
      kernels_(kernels_of(level)) {
  require(geometry.kernel > 0 && geometry.stride > 0 && geometry.padding < geometry.kernel,
          "kernel and stride must be positive and the padding smaller than the kernel");
  require(inputs_ % (geometry.kernel * geometry.kernel) == 0,
          "the inputs must be those of a square kernel");
}

Shape Convolution::output_shape(const Shape& input) const {
  const auto [kernel, stride, padding] = geometry_;
  require(input.channels * kernel * kernel == inputs_, "the input has other channels");
  const size_t height = input.height + 2 * padding, width = input.width + 2 * padding;
  require(height >= kernel && width >= kernel, "the input is smaller than the kernel");
  return {input.batch, (height - kernel) / stride + 1, (width - kernel) / stride + 1, outputs_};
}

// Copies what the output at `position` sees to `row`: [kernel, kernel, channels].
void Convolution::gather(const float* input, const Shape& shape, size_t position,
                         float* row) const {
  const auto [kernel, stride, padding] = geometry_;
  const Shape output = output_shape(shape);
  const size_t x = position % output.width * stride;
  const size_t y = position / output.width % output.height * stride;
  const float* picture = input + position / (output.width * output.height) * shape.height *
                                     shape.width * shape.channels;
  for (size_t tap = 0; tap < kernel * kernel; ++tap, row += shape.channels) {
    const size_t line = y + tap / kernel, column = x + tap % kernel;  // with the padding
    if (line < padding || line >= shape.height + padding || column < padding ||
        column >= shape.width + padding)
      std::fill_n(row, shape.channels, 0.0f);
    else
      std::copy_n(picture + ((line - padding) * shape.width + column - padding) * shape.channels,
                  shape.channels, row);
  }
}

void Convolution::apply(const float* input, const Shape& shape, float* output,
                        size_t threads) const {
  const size_t pixels = output_shape(shape).pixels();
  const bool pointwise = geometry_.kernel == 1 && geometry_.stride == 1;
  run_parts(threads, divide_up(pixels, tile_pixels), [&](size_t part) {
    const size_t first = part * tile_pixels, count = std::min(tile_pixels, pixels - first);
    Rounded rounded(kernels_, inputs_);
    FloatRows rows = {input + first * inputs_, inputs_};
    std::unique_ptr<float[]> gathered;
    if (!pointwise) {
      gathered = floats(tile_pixels * inputs_);
      for (size_t i = 0; i < count; ++i)
        gather(input, shape, first + i, gathered.get() + i * inputs_);
      rows = {gathered.get(), inputs_};
    }
    kernels_.multiply(rounded.of(rows, count, inputs_), matrix_.view(), output + first * outputs_,
                      outputs_);
  });
}

Block::Block(const Parts& parts, const std::string& level)
    : inputs_(parts.adaptor ? parts.adaptor->inputs : parts.expand.inputs),
      channels_(parts.expand.outputs),
      expand_(parts.expand),
      project_(parts.project),
      widen_(parts.widen, PackedMatrix::Order::halves),
      narrow_(parts.narrow),
      depthwise_(parts.depthwise.begin(), parts.depthwise.end()),
      depthwise_bias_(parts.depthwise_bias.begin(), parts.depthwise_bias.end()),
      shortcut_(parts.shortcut),
      kernels_(kernels_of(level)) {
  if (parts.adaptor) adaptor_.emplace(*parts.adaptor);
  const auto maps = [](const Matrix& matrix, size_t inputs, size_t outputs) {
    return matrix.inputs == inputs && matrix.outputs == outputs;
  };
  require(maps(parts.expand, channels_, channels_) && maps(parts.project, channels_, channels_) &&
              maps(parts.widen, channels_, 4 * channels_) &&
              maps(parts.narrow, 2 * channels_, channels_) &&
              (!parts.adaptor || parts.adaptor->outputs == channels_) &&
              depthwise_.size() == 9 * channels_ && depthwise_bias_.size() == channels_,
          "the parts of the block must belong together");
}

Shape Block::output_shape(const Shape& input) const {
  require(input.channels == inputs_, "the input has other channels");
  return {input.batch, input.height, input.width, channels_};
}

void Block::apply(const float* input, const Shape& shape, float* output, size_t threads) const {
  const size_t pixels = output_shape(shape).pixels();
  const auto expanded = floats(pixels * channels_);
  std::unique_ptr<float[]> adapted;
  if (adaptor_) adapted = floats(pixels * channels_);
  const auto for_each_tile = [&](auto work) {
    run_parts(threads, divide_up(pixels, tile_pixels), [&](size_t part) {
      const size_t first = part * tile_pixels;
      work(Range{first, std::min(tile_pixels, pixels - first)});
    });
  };
  for_each_tile([&](Range range) { expand(input, range, adapted.get(), expanded.get()); });
  const float* base = adaptor_ ? adapted.get() : input;
  for_each_tile([&](Range range) { mix(base, expanded.get(), shape, range, output); });
}

// Everything before the depth-wise convolution.
void Block::expand(const float* input, Range range, float* adapted, float* expanded) const {
  const size_t start = range.first * channels_;
  Rounded rounded(kernels_, std::max(inputs_, channels_));
  const auto* rows = &rounded.of({input + range.first * inputs_, inputs_}, range.count, inputs_);
  if (adaptor_) {
    kernels_.multiply(*rows, adaptor_->view(), adapted + start, channels_);
    rows = &rounded.of({adapted + start, channels_}, range.count, channels_);
  }
  kernels_.activate(*rows, expand_.view(), expanded + start, channels_);
}

// The depth-wise convolution and everything after it.
void Block::mix(const float* adapted, const float* expanded, const Shape& shape, Range range,
                float* output) const {
  const size_t width = channels_, count = range.count;
  const auto wide = floats(tile_pixels * 2 * width), spatial = floats(tile_pixels * width);
  Rounded rounded(kernels_, 2 * width);
  const DepthwiseInput picture = {expanded, shape.height,      shape.width,
                                  width,    depthwise_.data(), depthwise_bias_.data()};
  const FloatRows base = {adapted + range.first * width, width};
  const FloatRows none = {nullptr, 0};
  kernels_.depthwise(picture, range.first, count, wide.get());
  kernels_.add(rounded.of({wide.get(), width}, count, width), project_.view(), base, none,
               spatial.get(), width);
  const FloatRows mixed = {spatial.get(), width};
  kernels_.gate(rounded.of(mixed, count, width), widen_.view(), wide.get(), 2 * width);
  kernels_.add(rounded.of({wide.get(), 2 * width}, count, 2 * width), narrow_.view(), mixed,
               shortcut_ ? base : none, output + range.first * width, width);
}

}  // namespace neuvid
