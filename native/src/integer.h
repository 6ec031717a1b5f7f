// Convolutions and blocks in exact arithmetic; docs/determinism.md describes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels.h"

namespace neuvid {

// Names of the kernels that this processor runs, the fastest last.
std::vector<std::string> available_levels();

// Throws std::invalid_argument for a name that is not among them.
const Kernels& kernels_of(const std::string& level);

// Weights [outputs, inputs] as integers, with a step and a bias for each output.
struct Matrix {
  // Throws std::invalid_argument where the sizes contradict each other.
  Matrix(std::span<const std::int16_t> weights, std::span<const float> steps,
         std::span<const float> bias);

  std::size_t outputs, inputs;
  std::vector<std::int16_t> weights;
  std::vector<float> steps, bias;
};

// A matrix in the order in which kernels read it.
class PackedMatrix {
 public:
  enum class Order {
    plain,
    halves
  };  // halves: each group of outputs beside one of the second half

  explicit PackedMatrix(const Matrix& matrix, Order order = Order::plain);
  PackedWeights view() const;

 private:
  std::size_t outputs_, pairs_;
  std::vector<std::int16_t> weights_;
  std::vector<float> steps_, bias_;
};

struct Shape {
  std::size_t batch, height, width, channels;
  std::size_t pixels() const { return batch * height * width; }
};

class Convolution {
 public:
  struct Geometry {
    std::size_t kernel, stride, padding;
  };

  // `matrix` has the inputs [kernel, kernel, channels].
  Convolution(const Matrix& matrix, Geometry geometry, const std::string& level);

  // Throws std::invalid_argument for other channels or pictures smaller than the kernel.
  Shape output_shape(const Shape& input) const;

  void apply(const float* input, const Shape& shape, float* output, std::size_t threads) const;

 private:
  void gather(const float* input, const Shape& shape, std::size_t position, float* row) const;

  PackedMatrix matrix_;
  std::size_t inputs_, outputs_;
  Geometry geometry_;
  const Kernels& kernels_;
};

class Block {
 public:
  struct Parts {
    const Matrix* adaptor;  // may be null
    const Matrix& expand;
    std::span<const float> depthwise;  // [9, channels]
    std::span<const float> depthwise_bias;
    const Matrix& project;
    const Matrix& widen;
    const Matrix& narrow;
    bool shortcut;
  };

  Block(const Parts& parts, const std::string& level);

  // Throws std::invalid_argument for other channels.
  Shape output_shape(const Shape& input) const;

  void apply(const float* input, const Shape& shape, float* output, std::size_t threads) const;

 private:
  struct Range {
    std::size_t first, count;  // pixels
  };

  void expand(const float* input, Range range, float* adapted, float* expanded) const;
  void mix(const float* adapted, const float* expanded, const Shape& shape, Range range,
           float* output) const;

  std::size_t inputs_, channels_;
  std::optional<PackedMatrix> adaptor_;
  PackedMatrix expand_, project_, widen_, narrow_;
  std::vector<float> depthwise_, depthwise_bias_;
  bool shortcut_;
  const Kernels& kernels_;
};

}  // namespace neuvid
