#include "motion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "clones.h"

namespace neuvid {
namespace {

constexpr int kBlock = static_cast<int>(kMotionBlock);
constexpr float kVectorMax = 1 << 14;  // pixels

using Line = std::array<float, kBlock>;
using Square = std::array<Line, kBlock>;

// A vector in quarter pixels.
struct Vector {
  int x, y;
  bool operator==(const Vector&) const = default;
};

int quarters(float pixels) {
  const float bounded = pixels > -kVectorMax ? std::min(pixels, kVectorMax) : -kVectorMax;
  return static_cast<int>(std::nearbyint(bounded * kQuarters));
}

// Reads cells of 8x8 pixels between samples, by the middle `taps` of the weights across and down.
template <const QuarterWeights& weights, int taps>
struct Interpolation {
  static constexpr int kFirst = (static_cast<int>(weights[0].size()) - taps) / 2;
  static constexpr int kBefore = taps / 2 - 1;  // samples before a position
  static constexpr int kPatch = kBlock + taps - 1;
  using Strip = std::array<Line, kPatch>;  // [rows around a cell, columns of a cell]

  // Where the samples of a cell are, which is moved by a vector.
  struct Place {
    std::array<int, kPatch> rows, columns;
    std::array<float, taps> down, across;
    bool is_inside;  // whether the columns lie side by side

    Place(Extent extent, int top, int left, Vector vector) {
      const int last_row = static_cast<int>(extent.height) - 1;
      const int last_column = static_cast<int>(extent.width) - 1;
      top += (vector.y >> 2) - kBefore;
      left += (vector.x >> 2) - kBefore;
      for (int i = 0; i < kPatch; i++) {
        rows[i] = std::clamp(top + i, 0, last_row);
        columns[i] = std::clamp(left + i, 0, last_column);
      }
      is_inside = columns.back() - columns.front() == kPatch - 1;
      for (int k = 0; k < taps; k++) {
        down[k] = weights[vector.y & 3][kFirst + k];
        across[k] = weights[vector.x & 3][kFirst + k];
      }
    }
  };

  static Square read(const Place& place, const float* plane, std::size_t width) {
    Strip strip;
    for (int i = 0; i < kPatch; i++) {
      const float* row = plane + place.rows[i] * width;
      std::array<float, kPatch> gathered;
      const float* samples = row + place.columns[0];
      if (!place.is_inside) {
        for (int j = 0; j < kPatch; j++) gathered[j] = row[place.columns[j]];
        samples = gathered.data();
      }
      Line line;
      for (int j = 0; j < kBlock; j++) line[j] = samples[j] * place.across[0];
      for (int k = 1; k < taps; k++)
        for (int j = 0; j < kBlock; j++) line[j] += samples[j + k] * place.across[k];
      strip[i] = line;
    }
    Square square;
    for (int i = 0; i < kBlock; i++) {
      Line line;
      for (int j = 0; j < kBlock; j++) line[j] = strip[i][j] * place.down[0];
      for (int k = 1; k < taps; k++)
        for (int j = 0; j < kBlock; j++) line[j] += strip[i + k][j] * place.down[k];
      square[i] = line;
    }
    return square;
  }

  // Add to the gradient of a plane what `gradient`, of what was read there, makes of it.
  static void scatter(const Place& place, const Square& gradient, float* plane, std::size_t width) {
    Strip strip{};
    for (int i = 0; i < kBlock; i++)
      for (int k = 0; k < taps; k++)
        for (int j = 0; j < kBlock; j++) strip[i + k][j] += gradient[i][j] * place.down[k];
    for (int i = 0; i < kPatch; i++) {
      std::array<float, kPatch> samples{};
      for (int k = 0; k < taps; k++)
        for (int j = 0; j < kBlock; j++) samples[j + k] += strip[i][j] * place.across[k];
      float* row = plane + place.rows[i] * width;
      if (place.is_inside) {
        for (int j = 0; j < kPatch; j++) row[place.columns[0] + j] += samples[j];
      } else {
        for (int j = 0; j < kPatch; j++) row[place.columns[j]] += samples[j];
      }
    }
  }
};

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

float window(int corner, int i, int j) { return kWindows[corner / 2][i] * kWindows[corner % 2][j]; }

// The 8x8 pixels between the centres of four blocks, whose predictions overlap there.
struct Cell {
  int top, left;
  std::array<Vector, 4> vectors;

  // The first of the blocks that has the vector of one.
  int first_alike(int corner) const {
    return static_cast<int>(std::find(vectors.begin(), vectors.end(), vectors[corner]) -
                            vectors.begin());
  }

  // Call visit(plane's offset, row in cell, column in cell) for the pixels in the picture.
  template <class Visit>
  void for_pixels(Extent extent, Visit visit) const {
    const int height = static_cast<int>(extent.height), width = static_cast<int>(extent.width);
    for (int i = std::max(0, -top); i < std::min(kBlock, height - top); i++)
      for (int j = std::max(0, -left); j < std::min(kBlock, width - left); j++)
        visit(std::size_t(top + i) * extent.width + left + j, i, j);
  }
};

template <class Visit>
void for_cells(const float* vectors, Extent extent, std::size_t row, Visit visit) {
  const auto at = [&](std::size_t after_row, std::size_t after_column) {
    const std::size_t block_row =
        std::min(std::max<std::size_t>(after_row, 1), extent.block_rows());
    const std::size_t block_column =
        std::min(std::max<std::size_t>(after_column, 1), extent.block_columns());
    const std::size_t block = (block_row - 1) * extent.block_columns() + block_column - 1;
    return Vector{quarters(vectors[block]), quarters(vectors[extent.blocks() + block])};
  };
  for (std::size_t column = 0; column <= extent.block_columns(); column++)
    visit(
        Cell{static_cast<int>(row) * kBlock - kBlock / 2,
             static_cast<int>(column) * kBlock - kBlock / 2,
             {at(row, column), at(row, column + 1), at(row + 1, column), at(row + 1, column + 1)}});
}

template <class Kernel>
void predict_plane(const float* reference, Extent extent, const Cell& cell, float* prediction) {
  std::array<Square, 4> read;
  Square sums{};
  for (int corner = 0; corner < 4; corner++) {
    const int same = cell.first_alike(corner);
    if (same == corner) {
      const typename Kernel::Place place(extent, cell.top, cell.left, cell.vectors[corner]);
      read[corner] = Kernel::read(place, reference, extent.width);
    }
    for (int i = 0; i < kBlock; i++)
      for (int j = 0; j < kBlock; j++) sums[i][j] += read[same][i][j] * window(corner, i, j);
  }
  cell.for_pixels(extent, [&](std::size_t at, int i, int j) { prediction[at] = sums[i][j]; });
}

template <class Kernel>
void gradient_of_plane(Extent extent, const Cell& cell, const float* gradient,
                       float* reference_gradient) {
  Square whole{};
  cell.for_pixels(extent, [&](std::size_t at, int i, int j) { whole[i][j] = gradient[at]; });
  std::array<Square, 4> parts{};
  for (int corner = 0; corner < 4; corner++) {
    Square& part = parts[cell.first_alike(corner)];
    for (int i = 0; i < kBlock; i++)
      for (int j = 0; j < kBlock; j++) part[i][j] += whole[i][j] * window(corner, i, j);
  }
  for (int corner = 0; corner < 4; corner++) {
    if (cell.first_alike(corner) != corner) continue;
    const typename Kernel::Place place(extent, cell.top, cell.left, cell.vectors[corner]);
    Kernel::scatter(place, parts[corner], reference_gradient, extent.width);
  }
}

using Luma = Interpolation<kLumaWeights, 8>;
using Chroma = Interpolation<kChromaWeights, 4>;

}  // namespace

NEUVID_CLONES
void predict_cells(const float* reference, std::size_t channels, Extent extent,
                   const float* vectors, std::size_t row, float* prediction) {
  for_cells(vectors, extent, row, [&](const Cell& cell) {
    predict_plane<Luma>(reference, extent, cell, prediction);
    for (std::size_t channel = 1; channel < channels; channel++) {
      const std::size_t first = channel * extent.pixels();
      predict_plane<Chroma>(reference + first, extent, cell, prediction + first);
    }
  });
}

NEUVID_CLONES
void predict_picture_gradient(std::size_t channels, Extent extent, const float* vectors,
                              const float* prediction_gradient, float* reference_gradient) {
  const auto add = [&](const Cell& cell) {
    gradient_of_plane<Luma>(extent, cell, prediction_gradient, reference_gradient);
    for (std::size_t channel = 1; channel < channels; channel++) {
      const std::size_t first = channel * extent.pixels();
      gradient_of_plane<Chroma>(extent, cell, prediction_gradient + first,
                                reference_gradient + first);
    }
  };
  for (std::size_t row = 0; row <= extent.block_rows(); row++) for_cells(vectors, extent, row, add);
}

}  // namespace neuvid
