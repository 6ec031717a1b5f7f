// Laws of block motion, run under the sanitizers by ctest.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#include "motion.h"

using namespace neuvid;

namespace {

void check(bool condition, const char* law) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", law);
  std::exit(1);
}

// A smooth picture with detail everywhere.
float wave(float y, float x) {
  return 0.5f + 0.2f * std::sin(0.21f * x + 0.13f * y) + 0.2f * std::sin(0.37f * y - 0.11f * x);
}

std::vector<std::uint8_t> moved(Extent extent, float down, float right) {
  std::vector<std::uint8_t> picture;
  for (std::size_t y = 0; y < extent.height; y++)
    for (std::size_t x = 0; x < extent.width; x++)
      picture.push_back(static_cast<std::uint8_t>(
          255 * wave(static_cast<float>(y) + down, static_cast<float>(x) + right)));
  return picture;
}

std::vector<std::int16_t> search(const std::vector<std::uint8_t>& current,
                                 const std::vector<std::uint8_t>& reference, Extent extent,
                                 float bit_cost) {
  const std::vector<std::int16_t> last(2 * extent.blocks(), 0);
  std::vector<std::int16_t> vectors(last.size());
  search_motion(current.data(), reference.data(), extent, last.data(), bit_cost, vectors.data());
  return vectors;
}

void predict(const float* reference, std::size_t channels, Extent extent, const float* vectors,
             float* prediction) {
  for (std::size_t row = 0; row <= extent.block_rows(); row++)
    predict_cells(reference, channels, extent, vectors, row, prediction);
}

void search_finds_a_translation() {
  const Extent extent = {64, 96};
  const auto current = moved(extent, 1.5f, -2.25f), reference = moved(extent, 0, 0);
  const auto vectors = search(current, reference, extent, 4);
  const std::size_t middle = extent.blocks() / 2 + extent.block_columns() / 2;
  check(vectors[middle] == -9, "a horizontal motion is found in quarter pixels");
  check(vectors[extent.blocks() + middle] == 6, "a vertical motion is found in quarter pixels");
}

void noise_does_not_move() {
  const Extent extent = {64, 96};
  auto current = moved(extent, 0, 0);
  const auto reference = current;
  for (std::size_t i = 0; i < current.size(); i++) current[i] += (i * 7919 % 5) - 2;
  const auto vectors = search(current, reference, extent, 20);
  for (const std::int16_t component : vectors) check(component == 0, "noise does not move");
}

void search_stays_in_the_smallest_picture() {
  const Extent extent = {16, 16};
  const auto current = moved(extent, 40, 40), reference = moved(extent, 0, 0);
  search(current, reference, extent, 0);
}

void what_shows_nothing_moves_as_before() {
  const Extent extent = {64, 96};
  const std::vector<std::uint8_t> grey(extent.pixels(), 128);
  std::vector<std::int16_t> last(2 * extent.blocks(), 5), vectors(last.size());
  search_motion(grey.data(), grey.data(), extent, last.data(), 20, vectors.data());
  check(vectors == last, "what shows nothing moves as before");
}

void whole_vectors_copy() {
  const Extent extent = {32, 32};
  std::vector<float> reference, vectors(2 * extent.blocks(), 0);
  for (std::size_t i = 0; i < extent.pixels(); i++) reference.push_back(0.01f * (i % 97));
  for (std::size_t i = 0; i < extent.blocks(); i++) vectors[i] = 3;
  std::vector<float> prediction(extent.pixels());
  predict(reference.data(), 1, extent, vectors.data(), prediction.data());
  for (std::size_t y = 0; y < 32; y++)
    for (std::size_t x = 0; x < 29; x++)
      check(std::abs(prediction[y * 32 + x] - reference[y * 32 + x + 3]) < 1e-6f,
            "whole vectors copy");
}

void any_vector_is_safe() {
  const Extent extent = {16, 32};
  const float values[] = {1e30f,
                          -1e30f,
                          16384.5f,
                          -40.3f,
                          0.99999994f,
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float> reference(3 * extent.pixels(), 0.5f);
  std::vector<float> prediction(reference.size()), vectors(2 * extent.blocks());
  for (std::size_t i = 0; i < vectors.size(); i++) vectors[i] = values[i % std::size(values)];
  predict(reference.data(), 3, extent, vectors.data(), prediction.data());
  for (float sample : prediction)
    check(std::abs(sample - 0.5f) < 1e-5f, "a flat picture stays flat, whatever the vectors");
}

void gradient_is_the_slope() {
  const Extent extent = {16, 16};
  std::vector<float> reference, vectors(2 * extent.blocks(), 0.25f), weights;
  vectors[0] = 0.5f;
  for (std::size_t y = 0; y < 16; y++)
    for (std::size_t x = 0; x < 16; x++) {
      reference.push_back(wave(3.0f * static_cast<float>(y), 3.0f * static_cast<float>(x)));
      weights.push_back(std::sin(1.7f * static_cast<float>(16 * y + x)));
    }
  const auto value = [&] {
    std::vector<float> prediction(extent.pixels());
    predict(reference.data(), 1, extent, vectors.data(), prediction.data());
    double sum = 0;
    for (std::size_t i = 0; i < prediction.size(); i++) sum += double(prediction[i]) * weights[i];
    return sum;
  };
  std::vector<float> of_reference(extent.pixels(), 0);
  predict_picture_gradient(1, extent, vectors.data(), weights.data(), of_reference.data());
  const auto check_slope = [&](float& parameter, float gradient) {
    constexpr float kStep = 1e-2f;
    const float before = parameter;
    parameter = before + kStep;
    const double above = value();
    parameter = before - kStep;
    const double slope = (above - value()) / (2 * kStep);
    parameter = before;
    check(std::abs(slope - gradient) < 2e-3 * (1 + std::abs(slope)), "the gradient is the slope");
  };
  for (std::size_t i = 0; i < reference.size(); i += 7) check_slope(reference[i], of_reference[i]);
}

}  // namespace

int main() {
  search_finds_a_translation();
  noise_does_not_move();
  search_stays_in_the_smallest_picture();
  what_shows_nothing_moves_as_before();
  whole_vectors_copy();
  any_vector_is_safe();
  gradient_is_the_slope();
}
