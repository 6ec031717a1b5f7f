#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

#include "clones.h"
#include "motion.h"

namespace neuvid {
namespace {

constexpr int kBlock = static_cast<int>(kMotionBlock);
constexpr int kMargin = 48;              // pixels around a reference that vectors may reach,
constexpr int kWindowMargin = 8;         // less those that windows and interpolation add
constexpr int kSmallestSide = 32;        // of the coarsest picture of a pyramid
constexpr int kLevels = 4;               // of a pyramid, at most
constexpr int kCoarsestRange = 8;        // pixels, searched in full at the coarsest level
constexpr int kDescentSteps = 16;        // of a descent to a better vector, at most
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

// A plane shifted by quarters of a pixel, to the left or up. Where samples are missing it is as it
// was.
Plane shifted(const Plane& plane, int quarters, bool vertical) {
  if (quarters == 0) return plane;
  constexpr int kBefore = 3, kAfter = 4, kUnit = 64;
  Plane result = plane;
  const int stride = vertical ? plane.width : 1;
  const int rows_before = vertical ? kBefore : 0, rows_after = vertical ? kAfter : 0;
  const int length = plane.width - kBefore - kAfter;
  std::vector<std::int16_t> sums(length);
  for (int y = rows_before; y < plane.height - rows_after; y++) {
    std::fill(sums.begin(), sums.end(), kUnit / 2);
    for (int k = 0; k < kBefore + 1 + kAfter; k++) {
      const auto weight = static_cast<std::int16_t>(kUnit * kLumaWeights[quarters][k]);
      const std::uint8_t* samples = plane.row(y) + kBefore + (k - kBefore) * stride;
      for (int x = 0; x < length; x++) sums[x] += weight * samples[x];
    }
    std::uint8_t* out = result.row(y) + kBefore;
    for (int x = 0; x < length; x++)
      out[x] = static_cast<std::uint8_t>(std::clamp(sums[x] / kUnit, 0, 255));
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

struct Samples {
  const std::uint8_t* at;
  int stride;
};

// One level of the pyramid: vectors in units of 1 / `units` of its pixels.
class Level {
 public:
  Level(const Plane& current, const Plane& reference, bool subpixels)
      : current_(current),
        rows_(current.height / kBlock),
        columns_(current.width / kBlock),
        units_(subpixels ? kQuarters : 1),
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
  }

  void set(int row, int column, Vector vector) {
    vectors_[std::size_t(row) * columns_ + column] = vector;
  }

  Vector within_reach(int row, int column, Vector vector) const {
    const int reach = kMargin - kWindowMargin;
    const auto limit = [&](int value, int position, int side) {
      const int least = -(position + reach) * units_;
      const int most = (side - kBlock - position + reach) * units_;
      return std::clamp(value, least, most);
    };
    return {limit(vector.x, column * kBlock, current_.width),
            limit(vector.y, row * kBlock, current_.height)};
  }

  // The reference from a pixel on, moved by a vector.
  Samples samples(int top, int left, Vector vector) const {
    const int fraction_x = vector.x & (units_ - 1), fraction_y = vector.y & (units_ - 1);
    const Plane& reference = references_[std::size_t(fraction_y) * units_ + fraction_x];
    const int y = kMargin + top + (vector.y - fraction_y) / units_;
    const int x = kMargin + left + (vector.x - fraction_x) / units_;
    return {reference.row(y) + x, reference.width};
  }

 private:
  int difference(int row, int column, Vector vector) const {
    const int top = row * kBlock, left = column * kBlock;
    const Samples shown = samples(top, left, vector);
    return absolute_difference(current_.row(top) + left, current_.width, shown.at, shown.stride);
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
          if (x || y) offer(best, row, column, prediction, centre + Vector{x * step, y * step});
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
    set(row, column, best.vector);
  }

  const Plane& current_;
  int rows_, columns_, units_;
  float bit_cost_ = 0;
  std::vector<Plane> references_;  // one for each phase: [units, units]
  std::vector<Vector> vectors_;
};

constexpr int kReach = kBlock / 2;           // pixels that a block's window reaches beyond it
constexpr int kPasses = 3;                   // in which blocks settle with their neighbours
constexpr std::array kSides = {8, 4, 2, 1};  // blocks along the side of squares that settle
constexpr int kLongestSide = kSides[0] * kBlock + 2 * kReach;
constexpr float kSquaredWorth = 0.55f;  // of a bit in squared error, to the square of its cost
constexpr float kRedeemed = 12.0f;      // bits that a cell's error is worth before they are coded
constexpr float kTemporal = 0.2f;       // of the bits of an edge: those between frames
// Bits of an edge between neighbours that differ, and of a region of one vector, which is old where
// one of its blocks keeps the last frame's vector. What the coder takes is, over 480 fields,
// 0.98 + 0.075 per bit of the difference, 2.6 and 9.3 (R^2 0.998); these, with the worth of a bit,
// take the fewest bits at equal PSNR.
constexpr float kEdge = 0.8f, kEdgePerBit = 0.1f, kOldRegion = 2.0f, kNewRegion = 4.0f;

using Line = std::array<float, kBlock>;

// Blocks settle: squares of them, large ones first, take one of the vectors in and around them, or
// of the last frame, where that costs less. All neighbours count, those that come later as well, so
// that a region may move whose blocks would not pay one by one. What counts is the error of the
// prediction by overlapping windows, in the cells of 8x8 pixels between the centres of four blocks.
class Settling {
 public:
  Settling(Level& level, const Plane& current, std::vector<Vector> last, float bit_cost)
      : level_(level),
        rows_(level.rows()),
        columns_(level.columns()),
        width_(current.width),
        last_(std::move(last)),
        bit_worth_(kSquaredWorth * bit_cost * bit_cost),
        errors_(current.samples.begin(), current.samples.end()),
        changed_(last_.size(), 1),
        settled_(kSides.size() * last_.size(), 0) {
    for (int row = 0; row < rows_; row++)
      for (int column = 0; column < columns_; column++) predict(row, column, -1.0f);
  }

  void run() {
    for (int pass = 0; pass < kPasses; pass++) {
      int* settled = settled_.data();
      for (int side : kSides)
        for (int row = 0; row < rows_; row += side)
          for (int column = 0; column < columns_; column += side)
            settle({row, column, side}, *settled++);
    }
  }

 private:
  struct Square {
    int row, column, side;
    bool holds(int r, int c) const {
      return r >= row && r < row + side && c >= column && c < column + side;
    }
  };

  // The pixels that a square's vectors predict, and the weight of each row and column of them if
  // all blocks of the square have one vector.
  struct Window {
    int top, left, height, width;
    std::array<float, kLongestSide> down, across;
  };

  Window window_of(Square square) const {
    Window window;
    weigh(square.row, square.side, rows_, window.top, window.height, window.down);
    weigh(square.column, square.side, columns_, window.left, window.width, window.across);
    return window;
  }

  // The windows of a run of blocks, which rise and fall over 8 pixels; those at the edges of the
  // picture do not.
  static void weigh(int first, int count, int blocks, int& start, int& length,
                    std::array<float, kLongestSide>& weights) {
    const int end = std::min(first + count, blocks);
    start = first ? first * kBlock - kReach : 0;
    length = (end < blocks ? end * kBlock + kReach : end * kBlock) - start;
    std::fill_n(weights.begin(), length, 1.0f);
    for (int i = 0; i < kBlock; i++) {
      const float weight = (2.0f * static_cast<float>(i) + 1.0f) / (2.0f * kBlock);
      if (first) weights[i] = weight;
      if (end < blocks) weights[length - 1 - i] = weight;
    }
  }

  // Add `sign` times what a block's window shows with its vector to the errors.
  void predict(int block_row, int block_column, float sign) {
    const Window window = window_of({block_row, block_column, 1});
    const Vector vector = level_.at(block_row, block_column);
    const Samples samples = level_.samples(window.top, window.left, vector);
    for (int y = 0; y < window.height; y++) {
      const std::uint8_t* row = samples.at + std::size_t(y) * samples.stride;
      const float down = sign * window.down[y];
      float* out = errors_.data() + std::size_t(window.top + y) * width_ + window.left;
      for (int x = 0; x < window.width; x++)
        out[x] += (down * window.across[x]) * static_cast<float>(row[x]);
    }
  }

  // Whether no vector in or beside a square is newer than what the square settled for.
  bool is_settled(Square square, int settled) const {
    for (int row = square.row - 1; row <= square.row + square.side; row++)
      for (int column = square.column - 1; column <= square.column + square.side; column++)
        if (exists(row, column) && changed_[std::size_t(row) * columns_ + column] > settled)
          return false;
    return true;
  }

  void settle(Square square, int& settled) {
    if (is_settled(square, settled)) return;
    settled = ++time_;
    const Window window = window_of(square);
    float least = price(square, nullptr) + error(window, nullptr, 1e30f);
    for_blocks(square, [&](int row, int column) { predict(row, column, 1.0f); });
    const Vector* best = nullptr;
    const std::vector<Vector> vectors = candidates(square);
    for (const Vector& vector : vectors) {
      const float bits = price(square, &vector);
      if (bits >= least) continue;
      const float total = bits + error(window, &vector, least - bits);
      if (total < least) least = total, best = &vector;
    }
    for_blocks(square, [&](int row, int column) {
      if (best) {
        level_.set(row, column, *best);
        changed_[std::size_t(row) * columns_ + column] = time_;
      }
      predict(row, column, -1.0f);
    });
  }

  // What the cells of a window cost after a vector's prediction is taken from the errors, or as
  // they are. Adding up ends where the sum exceeds the most.
  float error(const Window& window, const Vector* vector, float most) const {
    const float* errors = errors_.data() + std::size_t(window.top) * width_ + window.left;
    const Samples samples =
        vector ? level_.samples(window.top, window.left, *vector) : Samples{nullptr, 0};
    float total = 0;
    for (int top = 0; top < window.height; top = next_cell(window.top, top)) {
      const int bottom = std::min(window.height, next_cell(window.top, top));
      for (int left = 0; left < window.width; left = next_cell(window.left, left)) {
        const int right = std::min(window.width, next_cell(window.left, left));
        Line squares{};
        for (int y = top; y < bottom; y++) {
          const float* row = errors + std::size_t(y) * width_;
          Line line{};
          for (int x = left; x < right; x++) line[x - left] = row[x];
          if (vector) {
            const std::uint8_t* shown = samples.at + std::size_t(y) * samples.stride;
            for (int x = left; x < right; x++)
              line[x - left] -= (window.down[y] * window.across[x]) * static_cast<float>(shown[x]);
          }
          for (int x = 0; x < kBlock; x++) squares[x] += line[x] * line[x];
        }
        total += cost_of(((squares[0] + squares[1]) + (squares[2] + squares[3])) +
                         ((squares[4] + squares[5]) + (squares[6] + squares[7])));
      }
      if (total >= most) return total;
    }
    return total;
  }

  // Where the cell after that of a pixel begins, both counted from `start`.
  static int next_cell(int start, int pixel) {
    return (start + pixel + kReach) / kBlock * kBlock + kReach - start;
  }

  // Error that is not worth coding counts as it is; what is, by the bits of coding it. Those are
  // about its logarithm, here in straight lines from one power of two to the next.
  float cost_of(float squares) const {
    const float bound = kRedeemed * bit_worth_;
    if (squares <= bound || bound == 0) return squares;
    int exponent;
    const float mantissa = std::frexp(squares / bound, &exponent);
    constexpr float kLogOfTwo = 0.6931472f;
    return bound * (1 + kLogOfTwo * (static_cast<float>(exponent) + 2 * mantissa - 2));
  }

  // What vectors of a square cost, all one or each its own: edges, and regions within it.
  float price(Square square, const Vector* common) const {
    float bits = common ? bits_of_region(square, *common) : bits_of_regions(square);
    for_blocks(square, [&](int row, int column) {
      const Vector vector = common ? *common : level_.at(row, column);
      const auto edge = [&](int beside_row, int beside_column, bool beside_is_later) {
        if (!exists(beside_row, beside_column)) return;
        const bool inside = square.holds(beside_row, beside_column);
        if (inside && (common || !beside_is_later)) return;  // inside, each edge counts once
        bits += edge_bits(vector, level_.at(beside_row, beside_column));
      };
      bits += kTemporal * edge_bits(vector, last_[std::size_t(row) * columns_ + column]);
      edge(row - 1, column, false);
      edge(row, column - 1, false);
      edge(row + 1, column, true);
      edge(row, column + 1, true);
    });
    return bit_worth_ * bits;
  }

  // About the bits of the difference between neighbours.
  static float edge_bits(Vector one, Vector other) {
    const Vector between = {one.x - other.x, one.y - other.y};
    return between == Vector{} ? 0.0f : kEdge + kEdgePerBit * vector_bits(between);
  }

  bool is_last(int row, int column, Vector vector) const {
    return last_[std::size_t(row) * columns_ + column] == vector;
  }

  // A square of one vector as a region, unless it goes on outside.
  float bits_of_region(Square square, Vector vector) const {
    bool goes_on = false, is_old = false;
    for_blocks(square, [&](int row, int column) {
      is_old |= is_last(row, column, vector);
      for_neighbours(row, column, [&](int beside_row, int beside_column) {
        goes_on |= !square.holds(beside_row, beside_column) &&
                   level_.at(beside_row, beside_column) == vector;
      });
    });
    return goes_on ? 0.0f : is_old ? kOldRegion : kNewRegion;
  }

  // All regions that end within a square.
  float bits_of_regions(Square square) const {
    std::array<bool, kSides[0] * kSides[0]> seen{};
    std::array<std::pair<int, int>, kSides[0] * kSides[0]> stack;
    const auto see = [&](int row, int column) {
      bool& is_seen = seen[std::size_t(row - square.row) * kSides[0] + column - square.column];
      return !std::exchange(is_seen, true);
    };
    float bits = 0;
    for_blocks(square, [&](int first_row, int first_column) {
      if (!see(first_row, first_column)) return;
      const Vector vector = level_.at(first_row, first_column);
      bool goes_on = false, is_old = false;
      std::size_t waiting = 0;
      stack[waiting++] = {first_row, first_column};
      while (waiting) {
        const auto [row, column] = stack[--waiting];
        is_old |= is_last(row, column, vector);
        for_neighbours(row, column, [&](int beside_row, int beside_column) {
          if (!(level_.at(beside_row, beside_column) == vector)) return;
          if (!square.holds(beside_row, beside_column))
            goes_on = true;
          else if (see(beside_row, beside_column))
            stack[waiting++] = {beside_row, beside_column};
        });
      }
      if (!goes_on) bits += is_old ? kOldRegion : kNewRegion;
    });
    return bits;
  }

  template <typename Function>
  void for_neighbours(int row, int column, Function function) const {
    if (row > 0) function(row - 1, column);
    if (column > 0) function(row, column - 1);
    if (row + 1 < rows_) function(row + 1, column);
    if (column + 1 < columns_) function(row, column + 1);
  }

  std::vector<Vector> candidates(Square square) const {
    std::vector<Vector> vectors;
    const auto add = [&](Vector vector) {
      const bool is_new = std::find(vectors.begin(), vectors.end(), vector) == vectors.end();
      if (is_new && is_reachable(square, vector)) vectors.push_back(vector);
    };
    add({});
    for_blocks(square,
               [&](int row, int column) { add(last_[std::size_t(row) * columns_ + column]); });
    for (int row = square.row - 1; row <= square.row + square.side; row++)
      for (int column = square.column - 1; column <= square.column + square.side; column++)
        if (exists(row, column)) add(level_.at(row, column));
    return vectors;
  }

  bool is_reachable(Square square, Vector vector) const {
    const int row = std::min(square.row + square.side, rows_) - 1;
    const int column = std::min(square.column + square.side, columns_) - 1;
    return level_.within_reach(square.row, square.column, vector) == vector &&
           level_.within_reach(row, column, vector) == vector;
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

  Level& level_;
  int rows_, columns_, width_;
  std::vector<Vector> last_;
  float bit_worth_;            // of squared error
  std::vector<float> errors_;  // of the prediction from the vectors as they are [height, width]
  int time_ = 1;               // counts squares that settled
  std::vector<int> changed_;   // when the vector of each block changed
  std::vector<int> settled_;   // when each square settled, in the order of a pass
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

NEUVID_CLONES
void search_motion(const std::uint8_t* current, const std::uint8_t* reference, Extent extent,
                   const std::int16_t* last, float bit_cost, std::int16_t* vectors) {
  const std::vector<Plane> now = pyramid(current, extent), before = pyramid(reference, extent);
  std::vector<Level> levels;
  levels.reserve(now.size());
  for (std::size_t i = now.size(); i-- > 0;) {
    levels.emplace_back(now[i], before[i], i == 0);
    levels.back().search(levels.size() > 1 ? &levels[levels.size() - 2] : nullptr, bit_cost);
  }
  Level& finest = levels.back();
  std::vector<Vector> before_vectors(extent.blocks());
  for (std::size_t i = 0; i < extent.blocks(); i++)
    before_vectors[i] = {last[i], last[extent.blocks() + i]};
  Settling(finest, now[0], std::move(before_vectors), bit_cost).run();
  for (int row = 0; row < finest.rows(); row++)
    for (int column = 0; column < finest.columns(); column++) {
      const Vector vector = finest.at(row, column);
      vectors[0] = static_cast<std::int16_t>(vector.x);
      vectors[extent.blocks()] = static_cast<std::int16_t>(vector.y);
      vectors++;
    }
}

}  // namespace neuvid
