// Feeds the fuzz harness valid inputs with random damage: fuzz_decode RUNS [SEED]
#include <cstdio>
#include <cstdlib>

#include "samples.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;
using samples::draw;
using samples::Random;

Bytes valid_tables(Random& random, int rows) {
  Bytes bytes;
  const auto put = [&](std::uint32_t word) {
    bytes.push_back(static_cast<std::uint8_t>(word));
    bytes.push_back(static_cast<std::uint8_t>(word >> 8));
  };
  const samples::Rows valid = samples::random_rows(random, rows);
  for (const auto offset : valid.offsets) put(static_cast<std::uint16_t>(offset));
  for (const auto start : valid.starts) put(start);
  for (const auto bound : valid.cumulative) put(bound);
  return bytes;
}

Bytes valid_input(Random& random) {
  const auto form = static_cast<std::uint8_t>(draw(random, 0, 2));
  const auto seed = static_cast<std::uint8_t>(draw(random, 2, form == 2 ? 12 : 255));
  Bytes input{form, seed};
  Bytes body;
  if (form == 2) {
    body = valid_tables(random, seed);
  } else {
    const auto streams = static_cast<std::size_t>(form == 0 ? 0 : draw(random, 1, 16));
    const auto& [tables, calls] = samples::sample(seed);
    body = samples::encode(tables, calls, streams);
  }
  input.insert(input.end(), body.begin(), body.end());
  return input;
}

void damage(Bytes& input, Random& random) {
  const auto place = static_cast<std::size_t>(draw(random, 2, static_cast<int>(input.size())));
  const auto iterator = input.begin() + static_cast<std::ptrdiff_t>(place);
  const auto value = static_cast<std::uint8_t>(draw(random, 0, 255));
  const int kind = draw(random, 0, 4);
  if (kind == 0) input.resize(place);
  if (kind == 1) input.insert(iterator, value);
  if (kind >= 2 && place == input.size()) return;
  if (kind == 2) input.erase(iterator);
  if (kind == 3) input[place] = value % 2 ? 0xFF : 0;
  if (kind == 4) input[place] ^= static_cast<std::uint8_t>(1 << value % 8);
}

}  // namespace

int main(int count, char** arguments) {
  const long runs = count > 1 ? std::atol(arguments[1]) : 100'000;
  Random random(count > 2 ? static_cast<unsigned>(std::atol(arguments[2])) : 1);
  for (long run = 0; run < runs; ++run) {
    Bytes input = valid_input(random);
    for (int left = draw(random, 0, 4); left > 0; --left) damage(input, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%ld inputs\n", runs);
}
