#include "motion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "clones.h"

namespace neuvid {
namespace {

constexpr int kBlock = static_cast<int>(kMotionBlock);
constexpr int kTaps = 4;
constexpr int kPatch = kBlock + kTaps - 1;
constexpr float kVectorMax = 1 << 14;  // pixels

using Taps = std::array<float, kTaps>;
using Line = std::array<float, kBlock>;
using Square = std::array<Line, kBlock>;
using Strip = std::array<Line, kPatch>;  // [rows around a cell, columns of a cell]

// Where a sample is read, and the Catmull-Rom weights of the four samples around it.
struct Position {
  int whole;
  float fraction;
  Taps taps;
};

Position position_of(float offset) {
  const float bounded = offset > -kVectorMax ? std::min(offset, kVectorMax) : -kVectorMax;
  const float whole = std::floor(bounded);
  const float t = bounded - whole;
  const float t2 = t * t, t3 = t2 * t;
  return {static_cast<int>(whole), t,
          {(t2 - 0.5f * t) - 0.5f * t3, (1.5f * t3 - 2.5f * t2) + 1.0f,
           (0.5f * t + 2.0f * t2) - 1.5f * t3, 0.5f * t3 - 0.5f * t2}};
}

Taps taps_gradient(float t) {
  return {2 * t - 0.5f - 1.5f * t * t, 4.5f * t * t - 5 * t, 0.5f + 4 * t - 4.5f * t * t,
          1.5f * t * t - t};
}

// The weights of the upper (left) and lower (right) block over the 8 pixels between their centres.
constexpr std::array<Line, 2> windows() {
  std::array<Line, 2> result{};
  for (int i = 0; i < kBlock; i++) {
    result[1][i] = (2.0f * static_cast<float>(i) + 1.0f) / (2.0f * kBlock);
    result[0][i] = 1.0f - result[1][i];
  }
  return result;
}
constexpr std::array<Line, 2> kWindows = windows();

// One block's part in a cell: the 8x8 pixels between the centres of four blocks.
struct Part {
  std::size_t block;
  Position y, x;
  const Line *window_y, *window_x;
  std::array<int, kPatch> rows, columns;  // of the reference

  Part(const float* vectors, Extent extent, int cell_row, int cell_column, int corner) {
    const int last_row = static_cast<int>(extent.block_rows()) - 1;
    const int last_column = static_cast<int>(extent.block_columns()) - 1;
    const int row = std::clamp(cell_row - 1 + corner / 2, 0, last_row);
    const int column = std::clamp(cell_column - 1 + corner % 2, 0, last_column);
    block = std::size_t(row) * extent.block_columns() + column;
    x = position_of(vectors[block]);
    y = position_of(vectors[extent.blocks() + block]);
    window_y = &kWindows[corner / 2];
    window_x = &kWindows[corner % 2];
    const int top = cell_row * kBlock - kBlock / 2 + y.whole - 1;
    const int left = cell_column * kBlock - kBlock / 2 + x.whole - 1;
    for (int i = 0; i < kPatch; i++) {
      rows[i] = std::clamp(top + i, 0, static_cast<int>(extent.height) - 1);
      columns[i] = std::clamp(left + i, 0, static_cast<int>(extent.width) - 1);
    }
  }

  // Whether the columns lie side by side.
  bool is_inside() const { return columns.back() - columns.front() == kPatch - 1; }

  Strip filter_rows(const float* plane, std::size_t width, const Taps& taps) const {
    Strip strip;
    for (int i = 0; i < kPatch; i++) {
      const float* row = plane + rows[i] * width;
      std::array<float, kPatch> gathered;
      const float* samples = row + columns[0];
      if (!is_inside()) {
        for (int j = 0; j < kPatch; j++) gathered[j] = row[columns[j]];
        samples = gathered.data();
      }
      for (int j = 0; j < kBlock; j++)
        strip[i][j] = ((samples[j] * taps[0] + samples[j + 1] * taps[1]) +
                       samples[j + 2] * taps[2]) +
                      samples[j + 3] * taps[3];
    }
    return strip;
  }
};

Square filter_columns(const Strip& strip, const Taps& taps) {
  Square square;
  for (int i = 0; i < kBlock; i++)
    for (int j = 0; j < kBlock; j++)
      square[i][j] = ((strip[i][j] * taps[0] + strip[i + 1][j] * taps[1]) +
                      strip[i + 2][j] * taps[2]) +
                     strip[i + 3][j] * taps[3];
  return square;
}

// Call visit(plane's offset, row in cell, column in cell) for the pixels of a cell in the picture.
template <class Visit>
void for_pixels(Extent extent, int cell_row, int cell_column, Visit visit) {
  const int top = cell_row * kBlock - kBlock / 2, left = cell_column * kBlock - kBlock / 2;
  const int height = static_cast<int>(extent.height), width = static_cast<int>(extent.width);
  for (int i = std::max(0, -top); i < std::min(kBlock, height - top); i++)
    for (int j = std::max(0, -left); j < std::min(kBlock, width - left); j++)
      visit(std::size_t(top + i) * extent.width + left + j, i, j);
}

template <class Visit>
void for_cells(const float* vectors, Extent extent, Visit visit) {
  for (int row = 0; row <= static_cast<int>(extent.block_rows()); row++)
    for (int column = 0; column <= static_cast<int>(extent.block_columns()); column++) {
      const auto part = [&](int corner) { return Part(vectors, extent, row, column, corner); };
      visit(row, column, std::array{part(0), part(1), part(2), part(3)});
    }
}

float dot(const Square& a, const Square& b) {
  float sum = 0;
  for (int i = 0; i < kBlock; i++)
    for (int j = 0; j < kBlock; j++) sum += a[i][j] * b[i][j];
  return sum;
}

// Add to the gradient of the reference what `gradient`, of a part's prediction, makes of it.
void scatter(const Part& part, const Square& gradient, float* plane, std::size_t width) {
  Strip strip{};
  for (int i = 0; i < kBlock; i++)
    for (int k = 0; k < kTaps; k++)
      for (int j = 0; j < kBlock; j++) strip[i + k][j] += gradient[i][j] * part.y.taps[k];
  for (int i = 0; i < kPatch; i++) {
    std::array<float, kPatch> samples{};
    for (int k = 0; k < kTaps; k++)
      for (int j = 0; j < kBlock; j++) samples[j + k] += strip[i][j] * part.x.taps[k];
    float* row = plane + part.rows[i] * width;
    if (part.is_inside()) {
      for (int j = 0; j < kPatch; j++) row[part.columns[0] + j] += samples[j];
    } else {
      for (int j = 0; j < kPatch; j++) row[part.columns[j]] += samples[j];
    }
  }
}

}  // namespace

NEUVID_CLONES
void predict_picture(const float* reference, std::size_t channels, Extent extent,
                     const float* vectors, float* prediction) {
  for_cells(vectors, extent, [&](int row, int column, const std::array<Part, 4>& parts) {
    for (std::size_t channel = 0; channel < channels; channel++) {
      Square sums{};
      for (const Part& part : parts) {
        const float* plane = reference + channel * extent.pixels();
        const Square predicted =
            filter_columns(part.filter_rows(plane, extent.width, part.x.taps), part.y.taps);
        for (int i = 0; i < kBlock; i++)
          for (int j = 0; j < kBlock; j++)
            sums[i][j] += predicted[i][j] * ((*part.window_y)[i] * (*part.window_x)[j]);
      }
      float* plane = prediction + channel * extent.pixels();
      for_pixels(extent, row, column,
                 [&](std::size_t at, int i, int j) { plane[at] = sums[i][j]; });
    }
  });
}

NEUVID_CLONES
void predict_picture_gradient(const float* reference, std::size_t channels, Extent extent,
                              const float* vectors, const float* prediction_gradient,
                              float* reference_gradient, float* vectors_gradient) {
  for_cells(vectors, extent, [&](int row, int column, const std::array<Part, 4>& parts) {
    for (std::size_t channel = 0; channel < channels; channel++) {
      const std::size_t first = channel * extent.pixels();
      Square cell{};
      for_pixels(extent, row, column, [&](std::size_t at, int i, int j) {
        cell[i][j] = prediction_gradient[first + at];
      });
      for (const Part& part : parts) {
        Square gradient;
        for (int i = 0; i < kBlock; i++)
          for (int j = 0; j < kBlock; j++)
            gradient[i][j] = cell[i][j] * ((*part.window_y)[i] * (*part.window_x)[j]);
        scatter(part, gradient, reference_gradient + first, extent.width);
        if (vectors_gradient == nullptr) continue;
        const float* plane = reference + first;
        const Strip across = part.filter_rows(plane, extent.width, taps_gradient(part.x.fraction));
        const Strip rows = part.filter_rows(plane, extent.width, part.x.taps);
        vectors_gradient[part.block] += dot(gradient, filter_columns(across, part.y.taps));
        vectors_gradient[extent.blocks() + part.block] +=
            dot(gradient, filter_columns(rows, taps_gradient(part.y.fraction)));
      }
    }
  });
}

}  // namespace neuvid
