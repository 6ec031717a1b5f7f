// Integer cumulative tables: how a row of probabilities stands for 16-bit symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace neuvid {

inline constexpr std::uint32_t precision_bits = 14;
inline constexpr std::uint32_t total = 1u << precision_bits;  // sum of the widths of a row's bins
inline constexpr std::uint16_t skip = 0xFFFF;  // index of a position that is not coded

struct Row {
  std::uint32_t start;    // of its bounds
  std::uint32_t buckets;  // of its buckets
  std::uint16_t escape;   // its last bin
  std::int16_t offset;    // symbol of its first bin
  std::uint16_t shift;    // slot >> shift is its bucket
};

// Cumulative tables. Row r has the bounds cumulative[starts[r]:starts[r + 1]], which rise from 0
// to `total`. Its bin k stands for the symbol offsets[r] + k, its last bin for all other symbols.
class Tables {
 public:
  // Throws std::invalid_argument where the tables break a rule.
  Tables(std::span<const std::uint16_t> cumulative, std::span<const std::uint32_t> starts,
         std::span<const std::int16_t> offsets);

  // Throws std::invalid_argument for an index that is neither a row nor `skip`.
  void check(std::span<const std::uint16_t> indexes) const;

  // The ideal cost of the symbols in bits.
  double bits(std::span<const std::int16_t> symbols, std::span<const std::uint16_t> indexes) const;

  const Row& row(std::uint16_t index) const { return rows_[index]; }
  const std::uint16_t* bounds(const Row& row) const { return cumulative_.data() + row.start; }
  const std::uint16_t* buckets(const Row& row) const { return buckets_.data() + row.buckets; }

 private:
  void add_row(std::span<const std::uint16_t> bounds, std::size_t start, int offset);

  std::vector<std::uint16_t> cumulative_;
  std::vector<std::uint16_t> buckets_;  // the first bin that reaches into each bucket
  std::vector<Row> rows_;
};

// Maps a symbol to its bin; any bin from row.escape on means an escape.
inline std::uint32_t bin_of(int symbol, const Row& row) {
  return static_cast<std::uint32_t>(symbol - row.offset);
}

// A symbol outside its row's ordinary bins, as bits that follow the escape bin. `distance` counts
// from 1 outwards from the row's last (side 0) or first (side 1) ordinary symbol.
struct Escape {
  static constexpr std::uint32_t header_bits = 5;

  std::uint32_t header;    // side | length << 1
  std::uint32_t length;    // in 0..15
  std::uint32_t low_bits;  // distance - 2^length, coded in `length` bits

  static Escape of(int symbol, const Row& row);
};

// The inverse of Escape::of; hostile bits may give a number outside 16 bits.
int escaped_symbol(std::uint32_t header, std::uint32_t low_bits, const Row& row);

}  // namespace neuvid
