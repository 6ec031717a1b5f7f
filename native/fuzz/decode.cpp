// Hostile bytes for the decoder and the tables, in libFuzzer's form.
#include <algorithm>
#include <cstdlib>

#include "samples.h"

namespace {

using Input = std::span<const std::uint8_t>;

// Whatever is accepted must be just what the encoder writes for the same symbols.
void decode_payload(const samples::Sample& sample, bool compact, Input payload) {
  const auto& [tables, calls] = sample;
  try {
    const auto decoded = samples::decode(tables, calls, payload, compact);
    const auto again = samples::encode(tables, decoded, compact ? 0 : payload[0]);
    if (!std::ranges::equal(again, payload)) std::abort();
  } catch (const neuvid::StreamError&) {
  }
}

// `input` holds offsets[rows], starts[rows + 1] and cumulative, all in words.
void build_tables(std::size_t rows, Input input) {
  std::vector<std::uint16_t> words(input.size() / 2);
  std::ranges::copy(input.first(words.size() * 2), reinterpret_cast<std::uint8_t*>(words.data()));
  if (words.size() < 2 * rows + 1) return;
  const auto offsets_end = words.begin() + static_cast<std::ptrdiff_t>(rows);
  const auto starts_end = offsets_end + static_cast<std::ptrdiff_t>(rows) + 1;
  const std::vector<std::int16_t> offsets(words.begin(), offsets_end);
  const std::vector<std::uint32_t> starts(offsets_end, starts_end);
  const std::span<const std::uint16_t> cumulative(starts_end, words.end());
  try {
    const neuvid::Tables tables(cumulative, starts, offsets);
    neuvid::SymbolEncoder encoder(tables);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::int16_t symbols[] = {-32768, offsets[row], 0, 32767};
      const std::vector<std::uint16_t> indexes(4, static_cast<std::uint16_t>(row));
      encoder.append(symbols, indexes);
    }
    encoder.finish(1);
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace

// Byte 0 says what follows: a compact payload, streams or tables. Byte 1 is the seed of a payload's
// tables, indexes and calls, or the number of rows.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Input rest(data + 2, size - 2);
  if (data[0] % 3 == 2)
    build_tables(data[1], rest);
  else
    decode_payload(samples::sample(data[1]), data[0] % 3 == 0, rest);
  return 0;
}
