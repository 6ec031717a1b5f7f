// Block motion: what an encoder searches and how a picture is predicted from the one before.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neuvid {

inline constexpr std::size_t kMotionBlock = 8;  // pixels along the side of a block with one vector

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

// Predict a picture [channels, height, width] from `reference` of the same shape and vectors
// [2 (x, y), block rows, block columns] in pixels. Overlapping windows of the blocks' predictions
// are added (bilinear weights); each is a Catmull-Rom interpolation of the reference, whose edges
// repeat without end.
void predict_picture(const float* reference, std::size_t channels, Extent extent,
                     const float* vectors, float* prediction);

// Add the gradient of `predict_picture` to `reference_gradient` and `vectors_gradient`, which may
// be null.
void predict_picture_gradient(const float* reference, std::size_t channels, Extent extent,
                              const float* vectors, const float* prediction_gradient,
                              float* reference_gradient, float* vectors_gradient);

}  // namespace neuvid
