#include "tables.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

namespace neuvid {
namespace {

using std::int16_t;
using std::size_t;
using std::uint16_t;
using std::uint32_t;

constexpr uint32_t buckets_per_bin = 2;  // at least; more gain little and take time to build

void require(bool condition, size_t row, const char* rule) {
  if (!condition) throw std::invalid_argument("tables: row " + std::to_string(row) + " " + rule);
}

const std::vector<double>& width_costs() {  // in bits
  static const std::vector<double> values = [] {
    std::vector<double> built(total);
    for (uint32_t width = 1; width < total; ++width)
      built[width] = precision_bits - std::log2(width);
    return built;
  }();
  return values;
}

}  // namespace

Tables::Tables(std::span<const uint16_t> cumulative, std::span<const uint32_t> starts,
               std::span<const int16_t> offsets)
    : cumulative_(cumulative.begin(), cumulative.end()) {
  if (starts.size() != offsets.size() + 1 || offsets.size() > skip)
    throw std::invalid_argument("tables: n rows need n + 1 starts and n offsets, n <= 65535");
  if (starts.front() != 0 || starts.back() != cumulative.size())
    throw std::invalid_argument("tables: starts must run from 0 to the size of cumulative");
  rows_.reserve(offsets.size());
  for (size_t r = 0; r < offsets.size(); ++r) {
    require(starts[r] < starts[r + 1] && starts[r + 1] <= cumulative.size(), r, "is out of order");
    add_row(cumulative.subspan(starts[r], starts[r + 1] - starts[r]), starts[r], offsets[r]);
  }
}

void Tables::add_row(std::span<const uint16_t> bounds, size_t start, int offset) {
  const size_t r = rows_.size();
  require(bounds.size() >= 3, r, "needs a bin and an escape bin");
  require(bounds.front() == 0 && bounds.back() == total, r, "must run from 0 to 16384");
  require(std::ranges::is_sorted(bounds, std::ranges::less_equal()), r, "has an empty bin");
  const size_t escape = bounds.size() - 2;
  require(offset + static_cast<int>(escape) - 1 <= std::numeric_limits<int16_t>::max(), r,
          "has symbols above 32767");

  const uint32_t buckets =
      std::min(std::bit_ceil(static_cast<uint32_t>(escape + 1) * buckets_per_bin), total);
  const uint32_t bucket_width = total / buckets;
  rows_.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(buckets_.size()),
                   static_cast<uint16_t>(escape), static_cast<int16_t>(offset),
                   static_cast<uint16_t>(std::countr_zero(bucket_width))});
  size_t bin = 0;
  for (uint32_t slot = 0; slot < total; slot += bucket_width) {
    while (bounds[bin + 1] <= slot) ++bin;
    buckets_.push_back(static_cast<uint16_t>(bin));
  }
}

void Tables::check(std::span<const uint16_t> indexes) const {
  const size_t rows = rows_.size();
  bool valid = true;
  for (const uint16_t index : indexes) valid &= (index < rows) | (index == skip);
  if (!valid) throw std::invalid_argument("indexes: allowed are the rows of the tables and 65535");
}

double Tables::bits(std::span<const int16_t> symbols, std::span<const uint16_t> indexes) const {
  check(indexes);
  const auto& costs = width_costs();
  double sum = 0;
  for (size_t i = 0; i < indexes.size(); ++i) {
    if (indexes[i] == skip) continue;
    const Row& row = this->row(indexes[i]);
    uint32_t bin = bin_of(symbols[i], row);
    if (bin >= row.escape) {
      sum += Escape::header_bits + Escape::of(symbols[i], row).length;
      bin = row.escape;
    }
    sum += costs[bounds(row)[bin + 1] - bounds(row)[bin]];
  }
  return sum;
}

Escape Escape::of(int symbol, const Row& row) {
  const bool below = symbol < row.offset;
  const int nearest = below ? row.offset : row.offset + row.escape - 1;
  const auto distance = static_cast<uint32_t>(std::abs(symbol - nearest));
  const auto length = static_cast<uint32_t>(std::bit_width(distance) - 1);
  return {static_cast<uint32_t>(below) | length << 1, length, distance - (1u << length)};
}

int escaped_symbol(uint32_t header, uint32_t low_bits, const Row& row) {
  const int distance = static_cast<int>((1u << (header >> 1)) + low_bits);
  return header & 1 ? row.offset - distance : row.offset + row.escape - 1 + distance;
}

}  // namespace neuvid
