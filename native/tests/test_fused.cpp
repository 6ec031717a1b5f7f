// Layers for training stay within their arrays, and all levels agree.
#include "fused.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

using namespace neuvid;

namespace {

std::mt19937 generator(1);

std::vector<float> random_values(std::size_t count) {
  std::normal_distribution<float> normal(0.0f, 0.3f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

double relative_error(const std::vector<float>& values, const std::vector<float>& expected) {
  double error = 0, size = 1e-20;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double(values[i]) - expected[i], 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(error / size);
}

void check(bool holds, const std::string& law) {
  if (holds) return;
  std::printf("failed: %s\n", law.c_str());
  std::exit(1);
}

struct Weights {
  std::vector<std::vector<float>> tensors;
  Weights(std::size_t inputs, std::size_t c, bool has_adaptor) {
    const std::size_t adaptor = has_adaptor ? inputs * c : 0;
    for (std::size_t size : {adaptor, has_adaptor ? c : 0, c * c, c, 9 * c, c, c * c, c, 4 * c * c,
                             4 * c, 2 * c * c, c})
      tensors.push_back(random_values(size));
  }
  template <class Float, class Self>
  static BlockTensors<Float> view(Self& self) {
    const auto at = [&](std::size_t i) {
      return self.tensors[i].empty() ? nullptr : self.tensors[i].data();
    };
    return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11)};
  }
};

struct Passes {
  std::vector<float> output, input_gradient;
  Weights gradients;
};

Passes run_block(const std::string& level, const BlockSizes& sizes, const Weights& weights,
                 const MapShape& shape, const std::vector<float>& input,
                 const std::vector<float>& outer, std::size_t threads) {
  const auto block = fused_kernels(level).make_block(sizes, Weights::view<const float>(weights));
  Passes passes = {outer, input, weights};
  std::vector<std::byte> saved(block->saved_bytes(shape));
  block->forward(input.data(), shape, passes.output.data(), saved.data(), threads);
  std::vector<float> again(outer.size());
  block->forward(input.data(), shape, again.data(), nullptr, threads);
  check(again == passes.output, level + ": the output is the same without saving");
  block->backward(input.data(), shape, saved.data(), outer.data(), passes.input_gradient.data(),
                  Weights::view<float>(passes.gradients), threads);
  return passes;
}

void test_block(std::size_t inputs, std::size_t channels, bool shortcut, const MapShape& shape) {
  const BlockSizes sizes = {inputs, channels, shortcut};
  const Weights weights(inputs, channels, inputs != channels);
  const auto input = random_values(shape.pixels() * inputs);
  const auto outer = random_values(shape.pixels() * channels);
  const auto levels = fused_levels();
  const Passes expected = run_block(levels[0], sizes, weights, shape, input, outer, 1);
  for (const std::string& level : levels)
    for (std::size_t threads : {1, 3}) {
      const Passes passes = run_block(level, sizes, weights, shape, input, outer, threads);
      const double most = level == "amx" ? 2e-2 : 1e-4;
      check(relative_error(passes.output, expected.output) < most, level + ": output");
      check(relative_error(passes.input_gradient, expected.input_gradient) < most,
            level + ": gradient of the input");
      for (std::size_t i = 0; i < weights.tensors.size(); ++i)
        check(relative_error(passes.gradients.tensors[i], expected.gradients.tensors[i]) < most,
              level + ": gradient of weight " + std::to_string(i));
    }
}

void test_convolution(const ConvolutionSizes& sizes, const MapShape& shape) {
  const auto weights = random_values(sizes.outputs * sizes.kernel * sizes.kernel * sizes.inputs);
  const auto bias = random_values(sizes.outputs);
  const auto input = random_values(shape.pixels() * sizes.inputs);
  std::vector<std::vector<float>> expected;
  for (const std::string& level : fused_levels()) {
    const auto layer = fused_kernels(level).make_convolution(sizes, weights.data(), bias.data());
    std::vector<float> output(layer->output_shape(shape).pixels() * sizes.outputs);
    layer->forward(input.data(), shape, output.data(), 2);
    std::vector<float> of_input = input, of_weights = weights, of_bias = bias;
    layer->backward(input.data(), shape, output.data(), of_input.data(), of_weights.data(),
                    of_bias.data(), 2);
    const std::vector<std::vector<float>> results = {output, of_input, of_weights, of_bias};
    if (expected.empty()) expected = results;
    for (std::size_t i = 0; i < results.size(); ++i)
      check(relative_error(results[i], expected[i]) < 1e-2, level + ": convolution");
  }
}

}  // namespace

int main() {
  if (fused_levels().empty()) {
    std::puts("this processor has no native layers");
    return 0;
  }
  test_block(32, 32, false, {1, 3, 5});
  test_block(19, 24, true, {2, 7, 41});
  test_block(48, 48, true, {1, 1, 1});
  test_block(40, 64, false, {1, 300, 1});
  test_convolution({16, 24, 3, 2, 1}, {2, 9, 13});
  test_convolution({20, 40, 2, 2, 0}, {2, 8, 6});
  test_convolution({33, 7, 1, 1, 0}, {1, 5, 61});
  std::puts("ok");
}
