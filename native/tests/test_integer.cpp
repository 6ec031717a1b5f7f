// Laws of the exact layers, run under the sanitizers by ctest.
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "integer.h"
#include "pool.h"

using namespace neuvid;

namespace {

void check(bool condition, const char* law) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", law);
  std::exit(1);
}

class Random {
 public:
  int below(int bound) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int>((state_ >> 33) % static_cast<unsigned>(bound));
  }

  std::vector<float> floats(std::size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(below(2'000'001) - 1'000'000) * 1e-5f;
    return values;
  }

  Matrix matrix(std::size_t outputs, std::size_t inputs) {
    std::vector<std::int16_t> weights(outputs * inputs);
    for (auto& weight : weights) weight = static_cast<std::int16_t>(below(2047) - 1023);
    const std::vector<float> steps(outputs, 1.0f / 16384);
    return Matrix(weights, steps, floats(outputs));
  }

 private:
  std::uint64_t state_ = 1;
};

std::uint64_t digest(const std::vector<float>& values) {
  std::uint64_t hash = 0;
  for (float value : values) hash = hash * 1099511628211u + std::bit_cast<std::uint32_t>(value);
  return hash;
}

template <class Layer>
std::uint64_t digest_of(const Layer& layer, const Shape& shape, std::size_t threads) {
  Random random;
  const auto input = random.floats(shape.pixels() * shape.channels);
  const Shape output = layer.output_shape(shape);
  std::vector<float> result(output.pixels() * output.channels);
  layer.apply(input.data(), shape, result.data(), threads);
  return digest(result);
}

void blocks_are_the_same_everywhere(std::size_t channels, std::uint64_t expected) {
  Random random;
  const std::size_t inputs = channels + 5;
  const Matrix adaptor = random.matrix(channels, inputs),
               expand = random.matrix(channels, channels),
               project = random.matrix(channels, channels),
               widen = random.matrix(4 * channels, channels),
               narrow = random.matrix(channels, 2 * channels);
  const auto depthwise = random.floats(9 * channels), bias = random.floats(channels);
  for (const std::string& level : available_levels()) {
    const Block block({&adaptor, expand, depthwise, bias, project, widen, narrow, true}, level);
    for (std::size_t threads : {1, 3})
      check(digest_of(block, {2, 9, 7, inputs}, threads) == expected, "one result of a block");
  }
}

void convolutions_are_the_same_everywhere(std::size_t channels, std::uint64_t expected) {
  Random random;
  const Matrix matrix = random.matrix(2 * channels + 1, 9 * channels);
  for (const std::string& level : available_levels()) {
    const Convolution convolution(matrix, {3, 2, 1}, level);
    for (std::size_t threads : {1, 3})
      check(digest_of(convolution, {1, 33, 20, channels}, threads) == expected,
            "one result of a convolution");
  }
}

void wrong_sizes_are_refused() {
  Random random;
  const Matrix matrix = random.matrix(3, 18);
  const auto refused = [](auto call) {
    try {
      call();
      return false;
    } catch (const std::invalid_argument&) {
      return true;
    }
  };
  const Convolution convolution(matrix, {3, 1, 0}, "portable");
  check(refused([&] { convolution.output_shape({1, 4, 4, 3}); }), "other channels");
  check(refused([&] { convolution.output_shape({1, 2, 4, 2}); }), "less than a kernel");
  check(refused([&] { Convolution(matrix, {2, 1, 0}, "portable"); }), "no square kernel");
  check(refused([&] { Convolution(matrix, {3, 1, 0}, "abacus"); }), "unknown level");
  check(
      refused([&] { Block({nullptr, matrix, {}, {}, matrix, matrix, matrix, false}, "portable"); }),
      "parts of other blocks");
}

void every_part_runs_once() {
  const auto count_parts = [] {
    for (int turn = 0; turn < 200; ++turn) {
      std::vector<std::atomic<int>> runs(17);
      run_parts(4, runs.size(), [&](std::size_t part) { ++runs[part]; });
      for (const auto& count : runs) check(count == 1, "each part runs once");
    }
  };
  std::thread other(count_parts);
  count_parts();
  other.join();
  try {
    run_parts(3, 50, [](std::size_t part) {
      if (part == 20) throw std::runtime_error("part 20");
    });
    check(false, "an exception reaches the caller");
  } catch (const std::runtime_error&) {
  }
}

}  // namespace

int main() {
  blocks_are_the_same_everywhere(8, 0x5b1195bc6cd6f741);
  blocks_are_the_same_everywhere(24, 0x2da2031cb4279ee8);
  blocks_are_the_same_everywhere(130, 0x6a34a4f363fe6845);
  convolutions_are_the_same_everywhere(12, 0xa6f5aa1defc540ab);
  convolutions_are_the_same_everywhere(64, 0xeb874f8f87604e46);
  wrong_sizes_are_refused();
  every_part_runs_once();
}
