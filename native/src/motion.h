// Block motion: what an encoder searches and how a picture is predicted from the one before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace neuvid {

inline constexpr std::size_t kMotionBlock = 8;  // pixels along the side of a block with one vector
inline constexpr int kQuarters = 4;             // steps of a vector in a pixel

// The weights of the samples at -3 to 4 for a position 0 to 3 quarters after a sample: those of
// H.265 for luma, and of Catmull-Rom for chroma, whose samples lie there twice.
using QuarterWeights = std::array<std::array<float, 8>, kQuarters>;
constexpr QuarterWeights quarter_weights(std::array<int, 8> quarter, std::array<int, 8> half,
                                         float unit) {
  QuarterWeights weights{};
  weights[0][3] = 1;
  for (std::size_t i = 0; i < 8; i++) {
    weights[1][i] = static_cast<float>(quarter[i]) / unit;
    weights[2][i] = static_cast<float>(half[i]) / unit;
    weights[3][i] = static_cast<float>(quarter[7 - i]) / unit;
  }
  return weights;
}
inline constexpr QuarterWeights kLumaWeights =
    quarter_weights({-1, 4, -10, 58, 17, -5, 1, 0}, {-1, 4, -11, 40, 40, -11, 4, -1}, 64);
inline constexpr QuarterWeights kChromaWeights =
    quarter_weights({0, 0, -9, 111, 29, -3, 0, 0}, {0, 0, -8, 72, 72, -8, 0, 0}, 128);

// A picture's sides in pixels, multiples of 16.
struct Extent {
  std::size_t height, width;
  std::size_t block_rows() const { return height / kMotionBlock; }
  std::size_t block_columns() const { return width / kMotionBlock; }
  std::size_t blocks() const { return block_rows() * block_columns(); }
  std::size_t pixels() const { return height * width; }
};

// Find a vector (x, y) in quarter pixels for each block of `current`, 8-bit luma, which points to
// where its content is in `reference`. A bit of a vector is worth `bit_cost` of absolute error.
// `vectors`, and `last`, those of the frame before, are [2 (x, y), block rows, block columns].
void search_motion(const std::uint8_t* current, const std::uint8_t* reference, Extent extent,
                   const std::int16_t* last, float bit_cost, std::int16_t* vectors);

// Predict a picture [channels, height, width], luma first, from `reference` of the same shape and
// vectors [2 (x, y), block rows, block columns] in pixels, which count as the nearest quarters.
// Overlapping windows of the blocks' predictions are added (bilinear weights); each is an
// interpolation of the reference, whose edges repeat without end. Of its block_rows() + 1 rows of
// cells, which may be predicted at the same time, this is one.
void predict_cells(const float* reference, std::size_t channels, Extent extent,
                   const float* vectors, std::size_t row, float* prediction);

// Add the gradient of a whole prediction to `reference_gradient`.
void predict_picture_gradient(std::size_t channels, Extent extent, const float* vectors,
                              const float* prediction_gradient, float* reference_gradient);

}  // namespace neuvid
