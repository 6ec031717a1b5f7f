// Laws of the entropy coder, run under the sanitizers by ctest.
#include <cstdio>
#include <cstdlib>

#include "samples.h"

using namespace samples;
using neuvid::Fault;
using neuvid::StreamError;
using neuvid::Tables;

namespace {

using Bytes = std::vector<std::uint8_t>;

void check(bool condition, const char* law) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", law);
  std::exit(1);
}

bool same_symbols(const std::vector<Call>& left, const std::vector<Call>& right) {
  for (std::size_t i = 0; i < left.size(); ++i)
    if (left[i].symbols != right[i].symbols) return false;
  return left.size() == right.size();
}

// Decodes `payload`. It may only be refused, or be just what the encoder writes for its symbols.
void check_refused_or_canonical(const Tables& tables, const std::vector<Call>& calls,
                                const Bytes& payload, std::size_t streams) {
  try {
    const auto decoded = decode(tables, calls, payload, streams == 0);
    const std::size_t declared = streams == 0 ? 0 : payload[0];
    check(encode(tables, decoded, declared) == payload, "accepted bytes are canonical");
  } catch (const StreamError&) {
  }
}

void exact_words() {
  Rows rows;
  rows.add({1000, 15000, 16300}, -1);
  rows.add({8192}, 5);
  const std::vector<Call> calls{{{0, 0, 5, 0, 300, -1}, {0, 0, 1, neuvid::skip, 0, 0}},
                                {{5, -32768, 1}, {1, 1, 0}}};
  const Tables tables = rows.tables();
  check(encode(tables, {}, 0) == Bytes{0x00, 0x00, 0x01}, "nothing is the first state alone");
  check(encode(tables, calls, 0) == Bytes{0x19, 0xD3, 0x0C, 0x70, 0x65, 0xDF, 0x00, 0xB0, 0xBC},
        "words of the compact form");
  const Bytes two_streams{0x02, 0x08, 0x00, 0x00, 0x00,                    //
                          0xB8, 0x57, 0x02, 0x00, 0x28, 0x29, 0x01, 0x00,  //
                          0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00,  //
                          0x1F, 0x40, 0x40, 0x00, 0xB4, 0xBF, 0x36, 0x01,  //
                          0x18, 0x42, 0x10, 0x00, 0x00, 0x00, 0x01, 0x00, 0x2B, 0xB0, 0x05, 0x00};
  check(encode(tables, calls, 2) == two_streams, "words of two streams");
}

void every_width_round_trips() {
  Rows rows;
  for (int width = 1; width < 16384; ++width) rows.add({width}, 0);
  const Tables tables = rows.tables();
  Random random(1);
  Call call;
  for (int i = 0; i < 400'000; ++i) {
    call.indexes.push_back(static_cast<std::uint16_t>(i % 16383));
    call.symbols.push_back(static_cast<std::int16_t>(draw(random, 0, 1)));
  }
  for (const std::size_t streams : {0, 1, 3}) {
    const auto decoded = decode(tables, {call}, encode(tables, {call}, streams), streams == 0);
    check(same_symbols(decoded, {call}), "every width round trips");
  }
}

void random_symbols_round_trip() {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    const int count = draw(random, 2, 40);
    const Tables tables = random_rows(random, count).tables();
    const auto calls = random_calls(random, count, round % 50 == 0 ? 70'000 : 300);
    const auto streams = static_cast<std::size_t>(draw(random, 0, 16));
    const Bytes payload = encode(tables, calls, streams);
    check(same_symbols(decode(tables, calls, payload, streams == 0), calls), "symbols round trip");
  }
}

void damage_is_refused_or_canonical() {
  Random random(3);
  for (int round = 0; round < 100; ++round) {
    const int count = draw(random, 2, 10);
    const Tables tables = random_rows(random, count).tables();
    const auto calls = random_calls(random, count, 30);
    const auto streams = static_cast<std::size_t>(draw(random, 0, 4));
    const Bytes payload = encode(tables, calls, streams);
    for (Bytes cut = payload; !cut.empty();) {
      cut.pop_back();
      check_refused_or_canonical(tables, calls, cut, streams);
    }
    for (std::size_t bit = 0; bit < payload.size() * 8; ++bit) {
      Bytes flipped = payload;
      flipped[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      check_refused_or_canonical(tables, calls, flipped, streams);
    }
  }
}

}  // namespace

int main() {
  exact_words();
  every_width_round_trips();
  random_symbols_round_trip();
  damage_is_refused_or_canonical();
}
