// Random tables and symbols for the native tests and the fuzz harness.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "rans.h"

namespace samples {

using Random = std::mt19937;

inline int draw(Random& random, int low, int high) {
  return std::uniform_int_distribution(low, high)(random);
}

struct Rows {
  std::vector<std::uint16_t> cumulative;
  std::vector<std::uint32_t> starts{0};
  std::vector<std::int16_t> offsets;

  void add(const std::set<int>& inner_bounds, int offset) {
    cumulative.push_back(0);
    cumulative.insert(cumulative.end(), inner_bounds.begin(), inner_bounds.end());
    cumulative.push_back(neuvid::total);
    starts.push_back(static_cast<std::uint32_t>(cumulative.size()));
    offsets.push_back(static_cast<std::int16_t>(offset));
  }

  neuvid::Tables tables() const { return {cumulative, starts, offsets}; }
};

inline Rows random_rows(Random& random, int count) {
  Rows rows;
  rows.add({1}, -32768);
  rows.add({16383}, 32767);
  for (int row = 2; row < count; ++row) {
    std::set<int> bounds;
    const int bins = draw(random, 1, row % 8 == 0 ? 2000 : 30);
    const int spread = draw(random, 0, 1) ? 16383 : 2 * bins;
    for (int bin = 0; bin < bins; ++bin) bounds.insert(draw(random, 1, spread));
    const int size = static_cast<int>(bounds.size());
    rows.add(bounds, draw(random, 0, 7) ? -size / 2 : draw(random, -32768, 32768 - size));
  }
  return rows;
}

struct Call {  // of append or decode
  std::vector<std::int16_t> symbols;
  std::vector<std::uint16_t> indexes;
};

inline std::vector<Call> random_calls(Random& random, int rows, int max_size) {
  std::vector<Call> calls(static_cast<std::size_t>(draw(random, 0, 4)));
  for (Call& call : calls) {
    const int skips = draw(random, 0, 3);
    for (int left = draw(random, 0, max_size); left > 0; --left) {
      const bool skipped = draw(random, 0, 3) < skips;
      const int reach = 1 << draw(random, 0, 15);
      call.indexes.push_back(skipped ? neuvid::skip
                                     : static_cast<std::uint16_t>(draw(random, 0, rows - 1)));
      call.symbols.push_back(skipped ? std::int16_t{0}
                                     : static_cast<std::int16_t>(draw(random, -reach, reach - 1)));
    }
  }
  return calls;
}

inline std::vector<std::uint8_t> encode(const neuvid::Tables& tables,
                                        const std::vector<Call>& calls, std::size_t streams) {
  neuvid::SymbolEncoder encoder(tables);
  for (const Call& call : calls) encoder.append(call.symbols, call.indexes);
  return encoder.finish(streams);
}

// Decodes what was appended with the indexes of `calls`; throws neuvid::StreamError.
inline std::vector<Call> decode(const neuvid::Tables& tables, std::vector<Call> calls,
                                std::span<const std::uint8_t> payload, bool compact) {
  neuvid::SymbolDecoder decoder(tables, payload, compact);
  for (Call& call : calls) decoder.decode(call.indexes, call.symbols);
  decoder.finish();
  return calls;
}

struct Sample {
  neuvid::Tables tables;
  std::vector<Call> calls;
};

// The tables, indexes and symbols that `seed` stands for.
inline const Sample& sample(std::uint8_t seed) {
  static std::map<std::uint8_t, Sample> known;
  const auto found = known.find(seed);
  if (found != known.end()) return found->second;
  Random random(seed);
  neuvid::Tables tables = random_rows(random, 12).tables();
  Sample made{std::move(tables), random_calls(random, 12, 200)};
  return known.emplace(seed, std::move(made)).first->second;
}

}  // namespace samples
