// Forward and backward passes of a DepthConvBlock for training, fused so that a chunk of pixels
// stays in the cache from one product to the next.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace neuvid {

// Maps [batch, height, width, channels] of floats.
struct MapShape {
  std::size_t batch, height, width;
  std::size_t pixels() const { return batch * height * width; }
};

// The weights of a block, [outputs, inputs] each; or, of the same shapes, where their gradients go.
// The adaptor's are null where there is none.
template <class Float>
struct BlockTensors {
  Float *adaptor, *adaptor_bias;      // [channels, inputs]
  Float *expand, *expand_bias;        // [channels, channels]
  Float *depthwise, *depthwise_bias;  // [channels, 9]
  Float *project, *project_bias;      // [channels, channels]
  Float *widen, *widen_bias;          // [4 channels, channels]
  Float *narrow, *narrow_bias;        // [channels, 2 channels]
};

struct BlockSizes {
  std::size_t inputs, channels;
  bool shortcut;
};

// A block with the weights it was made with.
class FusedBlock {
 public:
  virtual ~FusedBlock() = default;

  // What backward needs of forward besides its input, in bytes.
  virtual std::size_t saved_bytes(const MapShape& shape) const = 0;
  // `saved` may be null where there is no backward.
  virtual void forward(const float* input, const MapShape& shape, float* output, std::byte* saved,
                       std::size_t threads) const = 0;
  // Gradients are written, not added.
  virtual void backward(const float* input, const MapShape& shape, const std::byte* saved,
                        const float* output_gradient, float* input_gradient,
                        const BlockTensors<float>& gradients, std::size_t threads) const = 0;
};

// A convolution of maps; its weights are [outputs, kernel, kernel, inputs], then [outputs].
struct ConvolutionSizes {
  std::size_t inputs, outputs, kernel, stride, padding;
};

class FusedConvolution {
 public:
  virtual ~FusedConvolution() = default;
  virtual MapShape output_shape(const MapShape& input) const = 0;
  virtual void forward(const float* input, const MapShape& shape, float* output,
                       std::size_t threads) const = 0;
  // Gradients are written, not added.
  virtual void backward(const float* input, const MapShape& shape, const float* output_gradient,
                        float* input_gradient, float* weight_gradient, float* bias_gradient,
                        std::size_t threads) const = 0;
};

// Values of `samples` times `count`, and the scales of their Laplace laws.
struct LaplaceInput {
  const float *values, *scales;
  const float* noise;  // that is added to values where a gradient is wanted
  std::size_t samples, count;
  float threshold;      // at or below it a scale means that the value is 0 and not coded
  float error_per_bit;  // squared error that is worth a bit
  float probability_min, symbol_max;
};

// What is coded of the values, their bits for each sample, and for each value the slopes: of the
// bits of the noisy value, and of those of the coded value by the scale.
struct LaplaceOutput {
  float *coded, *bits, *value_slopes, *scale_slopes;
};

// How products are computed, in the order of speed: "avx2" and "avx512" in float32; "amx" with
// factors rounded to bfloat16 and float32 sums.
std::vector<std::string> fused_levels();  // those of this processor

struct FusedKernels {
  std::unique_ptr<FusedBlock> (*make_block)(const BlockSizes&, const BlockTensors<const float>&);
  std::unique_ptr<FusedConvolution> (*make_convolution)(const ConvolutionSizes&,
                                                        const float* weights, const float* bias);
  void (*code_laplace)(const LaplaceInput&, const LaplaceOutput&);
};

const FusedKernels& fused_kernels(const std::string& level);

}  // namespace neuvid
