#include "motion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace neuvid {
namespace {

constexpr int kBlock = static_cast<int>(kMotionBlock);

// ---- Search ----------------------------------------------------------------------------------

constexpr int kMargin = 48;          // pixels around a reference that vectors may reach
constexpr int kSmallestSide = 32;    // of the coarsest picture of a pyramid
constexpr int kLevels = 4;           // of a pyramid, at most
constexpr int kCoarsestRange = 8;    // pixels, searched in full at the coarsest level
constexpr int kDescentSteps = 16;    // of a descent to a better vector, at most
constexpr int kPasses = 2;           // in which blocks settle with their neighbours
constexpr int kLongestComponent = 4095;  // of a vector; longer ones cost the same

struct Vector {
  int x = 0, y = 0;
  bool operator==(const Vector&) const = default;
  Vector operator+(Vector other) const { return {x + other.x, y + other.y}; }
  Vector operator*(int factor) const { return {x * factor, y * factor}; }
};

struct Plane {
  int height, width;
  std::vector<std::uint8_t> samples;
  Plane(int height_, int width_)
      : height(height_), width(width_), samples(std::size_t(height_) * width_) {}
  const std::uint8_t* row(int y) const { return samples.data() + std::size_t(y) * width; }
  std::uint8_t* row(int y) { return samples.data() + std::size_t(y) * width; }
};

Plane halved(const Plane& plane) {
  Plane half(plane.height / 2, plane.width / 2);
  for (int y = 0; y < half.height; y++) {
    const std::uint8_t *above = plane.row(2 * y), *below = plane.row(2 * y + 1);
    for (int x = 0; x < half.width; x++)
      half.row(y)[x] = (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1] + 2) / 4;
  }
  return half;
}

Plane with_margin(const Plane& plane) {
  Plane wide(plane.height + 2 * kMargin, plane.width + 2 * kMargin);
  for (int y = 0; y < wide.height; y++) {
    const std::uint8_t* source = plane.row(std::clamp(y - kMargin, 0, plane.height - 1));
    std::uint8_t* row = wide.row(y);
    std::fill_n(row, kMargin, source[0]);
    std::copy_n(source, plane.width, row + kMargin);
    std::fill_n(row + kMargin + plane.width, kMargin, source[plane.width - 1]);
  }
  return wide;
}

// A plane shifted by a quarter of a pixel times `quarters`, to the left or up, by Catmull-Rom
// interpolation in units of 1 / 128.
constexpr std::array<std::array<int, 4>, 4> kQuarterTaps = {
    {{0, 128, 0, 0}, {-9, 111, 29, -3}, {-8, 72, 72, -8}, {-3, 29, 111, -9}}};

Plane shifted(const Plane& plane, int quarters, bool vertical) {
  if (quarters == 0) return plane;
  Plane result = plane;
  const auto& taps = kQuarterTaps[quarters];
  const int stride = vertical ? plane.width : 1;
  const int rows_before = vertical ? 1 : 0, rows_after = vertical ? 2 : 0;
  for (int y = rows_before; y < plane.height - rows_after; y++) {
    const std::uint8_t* row = plane.row(y);
    std::uint8_t* out = result.row(y);
    for (int x = 1; x < plane.width - 2; x++) {
      const int sum = taps[0] * row[x - stride] + taps[1] * row[x] + taps[2] * row[x + stride] +
                      taps[3] * row[x + 2 * stride];
      out[x] = static_cast<std::uint8_t>(std::clamp((sum + 64) >> 7, 0, 255));
    }
  }
  return result;
}

int absolute_difference(const std::uint8_t* a, int a_stride, const std::uint8_t* b, int b_stride) {
  int sum = 0;
  for (int y = 0; y < kBlock; y++, a += a_stride, b += b_stride)
    for (int x = 0; x < kBlock; x++) sum += std::abs(int(a[x]) - int(b[x]));
  return sum;
}

int median(int a, int b, int c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }

// About the bits of a vector's component, in steps that do not depend on the mathematics library.
std::array<float, kLongestComponent + 1> component_bits() {
  std::array<float, kLongestComponent + 1> bits;
  for (int i = 0; i <= kLongestComponent; i++)
    bits[i] = 1.0f + std::round(32.0f * std::log2(1.0f + static_cast<float>(i))) / 16.0f;
  return bits;
}

float vector_bits(Vector difference) {
  static const auto bits = component_bits();
  return bits[std::min(std::abs(difference.x), kLongestComponent)] +
         bits[std::min(std::abs(difference.y), kLongestComponent)];
}

// One level of the pyramid: vectors in units of 1 / `units` of its pixels.
class Level {
 public:
  Level(const Plane& current, const Plane& reference, bool subpixels)
      : current_(current),
        rows_(current.height / kBlock),
        columns_(current.width / kBlock),
        units_(subpixels ? 4 : 1),
        vectors_(std::size_t(rows_) * columns_) {
    const Plane wide = with_margin(reference);
    for (int y = 0; y < units_; y++) {
      const Plane rows = shifted(wide, y, true);
      for (int x = 0; x < units_; x++) references_.push_back(shifted(rows, x, false));
    }
  }

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  Vector at(int row, int column) const {
    row = std::clamp(row, 0, rows_ - 1);
    column = std::clamp(column, 0, columns_ - 1);
    return vectors_[std::size_t(row) * columns_ + column];
  }

  // Search all blocks, beginning at the vectors of the next coarser level, where there is one.
  void search(const Level* coarser, float bit_cost) {
    bit_cost_ = bit_cost;
    for (int row = 0; row < rows_; row++)
      for (int column = 0; column < columns_; column++) search_block(coarser, row, column);
    if (units_ == 4) settle();
  }

 private:
  Vector within_reach(int row, int column, Vector vector) const {
    const int reach = kMargin - 4;
    const auto limit = [&](int value, int position, int side) {
      const int least = -(position + reach) * units_;
      const int most = (side - kBlock - position + reach) * units_;
      return std::clamp(value, least, most);
    };
    return {limit(vector.x, column * kBlock, current_.width),
            limit(vector.y, row * kBlock, current_.height)};
  }

  int difference(int row, int column, Vector vector) const {
    const int fraction_x = vector.x & (units_ - 1), fraction_y = vector.y & (units_ - 1);
    const Plane& reference = references_[std::size_t(fraction_y) * units_ + fraction_x];
    const int y = kMargin + row * kBlock + (vector.y - fraction_y) / units_;
    const int x = kMargin + column * kBlock + (vector.x - fraction_x) / units_;
    return absolute_difference(current_.row(row * kBlock) + column * kBlock, current_.width,
                               reference.row(y) + x, reference.width);
  }

  Vector predicted(int row, int column) const {
    if (row == 0) return column == 0 ? Vector{} : at(0, column - 1);
    const Vector left = column ? at(row, column - 1) : at(row - 1, column);
    const Vector above = at(row - 1, column), beside = at(row - 1, column + 1);
    return {median(left.x, above.x, beside.x), median(left.y, above.y, beside.y)};
  }

  struct Best {
    Vector vector;
    float cost = 1e30f;
  };

  void offer(Best& best, int row, int column, Vector prediction, Vector vector) const {
    vector = within_reach(row, column, vector);
    const Vector residual = {vector.x - prediction.x, vector.y - prediction.y};
    const float rate = bit_cost_ * vector_bits(residual);
    if (rate >= best.cost) return;
    const float cost = rate + difference(row, column, vector);
    if (cost < best.cost) best = {vector, cost};
  }

  void descend(Best& best, int row, int column, Vector prediction, int step) const {
    for (int i = 0; i < kDescentSteps; i++) {
      const Vector centre = best.vector;
      for (int y = -1; y <= 1; y++)
        for (int x = -1; x <= 1; x++)
          if (x || y)
            offer(best, row, column, prediction, centre + Vector{x * step, y * step});
      if (best.vector == centre) return;
    }
  }

  void search_block(const Level* coarser, int row, int column) {
    const Vector prediction = predicted(row, column);
    Best best;
    offer(best, row, column, prediction, prediction);
    offer(best, row, column, prediction, {});
    if (column) offer(best, row, column, prediction, at(row, column - 1));
    if (row) {
      offer(best, row, column, prediction, at(row - 1, column));
      offer(best, row, column, prediction, at(row - 1, column + 1));
    }
    if (coarser == nullptr) {
      for (int y = -kCoarsestRange; y <= kCoarsestRange; y++)
        for (int x = -kCoarsestRange; x <= kCoarsestRange; x++)
          offer(best, row, column, prediction, Vector{x, y} * units_);
    } else {
      const int factor = 2 * units_ / coarser->units_;
      const int near_row = row / 2 + (row % 2 ? 1 : -1), near = column / 2 + (column % 2 ? 1 : -1);
      for (int parent_row : {row / 2, near_row})
        for (int parent_column : {column / 2, near})
          offer(best, row, column, prediction, coarser->at(parent_row, parent_column) * factor);
    }
    for (int step = units_; step >= 1; step /= 2) descend(best, row, column, prediction, step);
    vectors_[std::size_t(row) * columns_ + column] = best.vector;
  }

  struct Square {
    int row, column, side;
    bool holds(int r, int c) const {
      return r >= row && r < row + side && c >= column && c < column + side;
    }
  };

  // Let squares of blocks, large ones first, take one of the vectors in and around them where that
  // costs less. All neighbours count, those that come later as well, so that a region may move
  // whose blocks would not pay one by one.
  void settle() {
    for (int pass = 0; pass < kPasses; pass++)
      for (int side : {4, 2, 1})
        for (int row = 0; row < rows_; row += side)
          for (int column = 0; column < columns_; column += side)
            settle({row, column, side});
  }

  void settle(Square square) {
    Vector best;
    bool found = false;
    float least = cost(square, nullptr);
    for (const Vector& vector : candidates(square)) {
      const float price = cost(square, &vector);
      if (price < least) least = price, best = vector, found = true;
    }
    if (found) for_blocks(square, [&](int row, int column) {
        vectors_[std::size_t(row) * columns_ + column] = within_reach(row, column, best);
      });
  }

  // What the blocks of a square cost, edges included, all with one vector or each with its own.
  float cost(Square square, const Vector* common) const {
    float total = 0;
    for_blocks(square, [&](int row, int column) {
      const Vector vector = common ? *common : at(row, column);
      total += static_cast<float>(difference(row, column, within_reach(row, column, vector)));
      const auto edge = [&](int beside_row, int beside_column, bool beside_is_later) {
        if (!exists(beside_row, beside_column)) return;
        const bool inside = square.holds(beside_row, beside_column);
        if (inside && (common || !beside_is_later)) return;  // inside, each edge counts once
        total += bit_cost_ * edge_bits(vector, at(beside_row, beside_column));
      };
      edge(row - 1, column, false);
      edge(row, column - 1, false);
      edge(row + 1, column, true);
      edge(row, column + 1, true);
    });
    return total;
  }

  // About the bits of the difference between neighbours, of which each block has four.
  static float edge_bits(Vector one, Vector other) {
    const Vector between = {one.x - other.x, one.y - other.y};
    return between == Vector{} ? 0.0f : 0.5f + 0.25f * vector_bits(between);
  }

  std::vector<Vector> candidates(Square square) const {
    std::vector<Vector> vectors = {{}};
    const auto add = [&](int row, int column) {
      if (!exists(row, column)) return;
      const Vector vector = at(row, column);
      if (std::find(vectors.begin(), vectors.end(), vector) == vectors.end())
        vectors.push_back(vector);
    };
    for (int row = square.row - 1; row <= square.row + square.side; row++)
      for (int column = square.column - 1; column <= square.column + square.side; column++)
        add(row, column);
    return vectors;
  }

  template <typename Function>
  void for_blocks(Square square, Function function) const {
    for (int row = square.row; row < std::min(square.row + square.side, rows_); row++)
      for (int column = square.column; column < std::min(square.column + square.side, columns_);
           column++)
        function(row, column);
  }

  bool exists(int row, int column) const {
    return row >= 0 && row < rows_ && column >= 0 && column < columns_;
  }

  const Plane& current_;
  int rows_, columns_, units_;
  float bit_cost_ = 0;
  std::vector<Plane> references_;  // one for each phase: [units, units]
  std::vector<Vector> vectors_;
};

std::vector<Plane> pyramid(const std::uint8_t* samples, Extent extent) {
  std::vector<Plane> planes;
  planes.emplace_back(static_cast<int>(extent.height), static_cast<int>(extent.width));
  std::copy_n(samples, planes[0].samples.size(), planes[0].samples.data());
  while (planes.size() < kLevels &&
         std::min(planes.back().height, planes.back().width) >= 2 * kSmallestSide)
    planes.push_back(halved(planes.back()));
  return planes;
}

}  // namespace

void search_motion(const std::uint8_t* current, const std::uint8_t* reference, Extent extent,
                   float bit_cost, std::int16_t* vectors) {
  const std::vector<Plane> now = pyramid(current, extent), before = pyramid(reference, extent);
  std::vector<Level> levels;
  levels.reserve(now.size());
  for (std::size_t i = now.size(); i-- > 0;) {
    levels.emplace_back(now[i], before[i], i == 0);
    levels.back().search(levels.size() > 1 ? &levels[levels.size() - 2] : nullptr, bit_cost);
  }
  const Level& finest = levels.back();
  for (int row = 0; row < finest.rows(); row++)
    for (int column = 0; column < finest.columns(); column++) {
      const Vector vector = finest.at(row, column);
      vectors[0] = static_cast<std::int16_t>(vector.x);
      vectors[extent.blocks()] = static_cast<std::int16_t>(vector.y);
      vectors++;
    }
}

// ---- Prediction ------------------------------------------------------------------------------

namespace {

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

  Strip filter_rows(const float* plane, std::size_t width, const Taps& taps) const {
    Strip strip;
    for (int i = 0; i < kPatch; i++) {
      const float* row = plane + rows[i] * width;
      std::array<float, kPatch> samples;
      for (int j = 0; j < kPatch; j++) samples[j] = row[columns[j]];
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
    for (int j = 0; j < kPatch; j++) row[part.columns[j]] += samples[j];
  }
}

}  // namespace

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
