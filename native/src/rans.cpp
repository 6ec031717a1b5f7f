#include "rans.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <future>
#include <memory>
#include <utility>

// For the steps of decoding: Clang would call them, and take twice the time.
#if defined(__GNUC__)
#define NEUVID_INLINE __attribute__((always_inline))
#else
#define NEUVID_INLINE
#endif

namespace neuvid {
namespace {

static_assert(std::endian::native == std::endian::little, "payloads are little-endian");

using std::int16_t;
using std::size_t;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

constexpr size_t words_per_symbol = 3;     // at most: the bin and the two parts of an escape
constexpr size_t parallel_symbols = 4096;  // symbols of a part from which a thread pays

// state / width == state * reciprocals[width] >> 46 for every state < width << 18: the reciprocal
// times the width exceeds 2^46 by some e in 1..width, and the error of the quotient, state * e /
// (width << 46), is below 1 / width because state * e < width^2 << 18 < 2^46.
constexpr uint32_t reciprocal_bits = 46;

const std::vector<uint64_t>& reciprocals() {
  static const std::vector<uint64_t> values = [] {
    std::vector<uint64_t> built(total);
    for (uint32_t width = 1; width < total; ++width)
      built[width] = (uint64_t{1} << reciprocal_bits) / width + 1;
    return built;
  }();
  return values;
}

// Writes words from the end of its buffer to the front, as decoding reads them in reverse.
class Writer {
 public:
  Writer(const Tables& tables, size_t symbols)
      : tables_(tables),
        reciprocals_(reciprocals().data()),
        size_(symbols * words_per_symbol + 2 * lanes),
        // Not initialised, so that the unused front of the buffer never takes real memory.
        buffer_(new uint16_t[size_]),
        next_(buffer_.get() + size_) {}

  void encode(uint32_t& state, int symbol, uint16_t index) {
    const Row& row = tables_.row(index);
    uint32_t bin = bin_of(symbol, row);
    if (bin >= row.escape) [[unlikely]] {
      const Escape escape = Escape::of(symbol, row);
      put_bits(state, escape.low_bits, escape.length);
      put_bits(state, escape.header, Escape::header_bits);
      bin = row.escape;
    }
    const uint16_t* bounds = tables_.bounds(row) + bin;
    const uint32_t width = bounds[1] - bounds[0];
    flush_word(state, state >> (32 - precision_bits) >= width);
    const auto quotient = static_cast<uint32_t>(state * reciprocals_[width] >> reciprocal_bits);
    state += quotient * (total - width) + bounds[0];
  }

  void put_state(uint32_t state) {
    *--next_ = static_cast<uint16_t>(state >> 16);
    *--next_ = static_cast<uint16_t>(state);
  }

  std::span<const uint16_t> words() const { return {next_, buffer_.get() + size_}; }

 private:
  void put_bits(uint32_t& state, uint32_t bits, uint32_t count) {
    flush_word(state, uint64_t{state} >> (32 - count) != 0);
    state = state << count | bits;
  }

  void flush_word(uint32_t& state, bool full) {  // without a branch: it could not be foreseen
    next_[-1] = static_cast<uint16_t>(state);
    next_ -= full;
    state >>= full ? 16 : 0;
  }

  const Tables& tables_;
  const uint64_t* reciprocals_;
  size_t size_;
  std::unique_ptr<uint16_t[]> buffer_;
  uint16_t* next_;
};

// Calls `step(state, position)` for each position, forward or backward, with the state whose turn
// it is: position % lane_count.
template <size_t lane_count, class Step>
bool for_each_forward(std::array<uint32_t, lanes>& states, size_t size, Step step) {
  auto local = states;  // in registers, as every index is constant
  size_t i = 0;
  const auto group = [&]<size_t... lane>(std::index_sequence<lane...>) {
    return (step(local[lane], i + lane) && ...);
  };
  for (; i + lane_count <= size; i += lane_count)
    if (!group(std::make_index_sequence<lane_count>())) return false;
  states = local;
  for (size_t lane = 0; i < size; ++i, ++lane)
    if (!step(states[lane], i)) return false;
  return true;
}

template <size_t lane_count, class Step>
void for_each_backward(std::array<uint32_t, lanes>& states, size_t size, Step step) {
  size_t i = size - size % lane_count;
  for (size_t lane = size % lane_count; lane-- > 0;) step(states[lane], i + lane);
  auto local = states;
  const auto group = [&]<size_t... lane>(std::index_sequence<lane...>) {
    (step(local[lane_count - 1 - lane], i + lane_count - 1 - lane), ...);
  };
  while (i > 0) {
    i -= lane_count;
    group(std::make_index_sequence<lane_count>());
  }
  states = local;
}

// Decodes into `symbols`. Words past the end are read, from the padding, and reported after.
template <size_t lane_count>
Fault decode_part(const Tables& tables, SymbolDecoder::Stream& stream,
                  std::span<const uint16_t> indexes, int16_t* symbols) {
  const uint16_t* next = stream.next;
  const uint16_t* const end = stream.end;
  Fault fault = Fault::none;

  const auto refill = [&](uint32_t& state) NEUVID_INLINE {
    const uint32_t low = state < lowest_state;
    state = state << (low * 16) | (*next & (0u - low));
    next += low;
  };
  const auto take_bits = [&](uint32_t& state, uint32_t count) {
    const uint32_t bits = state & ((1u << count) - 1);
    state >>= count;
    refill(state);
    return bits;
  };
  const auto step = [&](uint32_t& state, size_t i) NEUVID_INLINE {
    const Row& row = tables.row(indexes[i]);
    const uint32_t slot = state & (total - 1);
    uint32_t bin = tables.buckets(row)[slot >> row.shift];
    const uint16_t* bounds = tables.bounds(row);
    while (bounds[bin + 1] <= slot) ++bin;
    const uint32_t start = bounds[bin];
    state = (bounds[bin + 1] - start) * (state >> precision_bits) + slot - start;
    refill(state);
    int symbol = row.offset + static_cast<int>(bin);
    if (bin == row.escape) [[unlikely]] {
      const uint32_t header = take_bits(state, Escape::header_bits);
      symbol = escaped_symbol(header, take_bits(state, header >> 1), row);
      if (symbol != static_cast<int16_t>(symbol)) fault = Fault::corrupt;
    }
    symbols[i] = static_cast<int16_t>(symbol);
    return next <= end;
  };
  if (!for_each_forward<lane_count>(stream.states, indexes.size(), step)) return Fault::truncated;
  stream.next = next;
  return fault;
}

// Runs `work(part)` for each part, on threads of its own where that pays, and returns the results.
template <class Work>
auto for_each_part(size_t parts, size_t symbols, Work work) {
  const auto policy =
      symbols / parts >= parallel_symbols ? std::launch::async : std::launch::deferred;
  std::vector<std::future<decltype(work(size_t{0}))>> others;
  for (size_t part = 1; part < parts; ++part)
    others.push_back(std::async(policy, [work, part] { return work(part); }));
  std::vector<decltype(work(size_t{0}))> results;
  results.push_back(work(0));
  for (auto& other : others) results.push_back(other.get());
  return results;
}

std::pair<size_t, size_t> part_range(size_t size, size_t part, size_t parts) {
  return {size * part / parts, size * (part + 1) / parts};
}

void append_bytes(std::vector<uint8_t>& bytes, const void* data, size_t size) {
  const auto* first = static_cast<const uint8_t*>(data);
  bytes.insert(bytes.end(), first, first + size);
}

}  // namespace

void SymbolEncoder::append(std::span<const int16_t> symbols, std::span<const uint16_t> indexes) {
  tables_.check(indexes);
  size_t coded = symbols_.size();
  symbols_.resize(coded + symbols.size());
  indexes_.resize(coded + symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols_[coded] = symbols[i];
    indexes_[coded] = indexes[i];
    coded += indexes[i] != skip;
  }
  symbols_.resize(coded);
  indexes_.resize(coded);
  call_ends_.push_back(coded);
}

std::vector<uint8_t> SymbolEncoder::finish(size_t streams) {
  if (streams > max_streams) throw std::invalid_argument("streams: allowed is 0..16");
  const bool compact = streams == 0;
  const size_t parts = std::max(streams, size_t{1});
  const auto encode_stream = [&, this](size_t part) {
    Writer writer(tables_, symbols_.size() / parts + call_ends_.size());
    std::array<uint32_t, lanes> states;
    states.fill(lowest_state);
    for (size_t call = call_ends_.size(); call-- > 0;) {
      const size_t call_start = call == 0 ? 0 : call_ends_[call - 1];
      const auto [first, last] = part_range(call_ends_[call] - call_start, part, parts);
      const auto step = [&, start = call_start + first](uint32_t& state, size_t i) {
        writer.encode(state, symbols_[start + i], indexes_[start + i]);
      };
      compact ? for_each_backward<1>(states, last - first, step)
              : for_each_backward<lanes>(states, last - first, step);
    }
    if (!compact)
      for (size_t lane = lanes; lane-- > 0;) writer.put_state(states[lane]);
    return std::pair(std::move(writer), states[0]);
  };
  const auto coded = for_each_part(parts, symbols_.size(), encode_stream);

  std::vector<uint8_t> payload;
  if (compact) {
    const uint32_t state = coded[0].second;
    append_bytes(payload, &state, static_cast<size_t>(std::bit_width(state) + 7) / 8);
  } else {
    payload.push_back(static_cast<uint8_t>(streams));
    for (size_t part = 0; part + 1 < parts; ++part) {
      const auto size = static_cast<uint32_t>(coded[part].first.words().size());
      append_bytes(payload, &size, sizeof size);
    }
  }
  for (const auto& [writer, state] : coded)
    append_bytes(payload, writer.words().data(), writer.words().size_bytes());
  symbols_.clear();
  indexes_.clear();
  call_ends_.clear();
  return payload;
}

SymbolDecoder::SymbolDecoder(const Tables& tables, std::span<const uint8_t> payload, bool compact)
    : tables_(tables), compact_(compact) {
  compact ? open_compact(payload) : open_streams(payload);
}

void SymbolDecoder::open_compact(std::span<const uint8_t> payload) {
  const size_t state_size = 4 - payload.size() % 2;  // what follows are words of 2 bytes
  if (payload.size() < state_size)
    throw StreamError(Fault::truncated, "the state of the entropy coder is cut off");
  if (payload[state_size - 1] == 0)
    throw StreamError(Fault::corrupt, "the state of the entropy coder begins with a zero byte");
  Stream stream{};
  std::ranges::copy(payload.first(state_size), reinterpret_cast<uint8_t*>(stream.states.data()));
  load_words(payload.subspan(state_size));
  stream.next = words_.data();
  stream.end = stream.next + words_.size() - words_per_symbol;
  streams_.push_back(stream);
}

void SymbolDecoder::open_streams(std::span<const uint8_t> payload) {
  const size_t count = payload.empty() ? 0 : payload[0];
  if (payload.empty()) throw StreamError(Fault::truncated, "the entropy-coded payload is empty");
  if (count < 1 || count > max_streams)
    throw StreamError(Fault::corrupt, "the number of entropy-coded streams is not 1..16");
  const size_t header_size = 1 + (count - 1) * sizeof(uint32_t);
  if (payload.size() < header_size)
    throw StreamError(Fault::truncated, "the sizes of the entropy-coded streams are cut off");
  if ((payload.size() - header_size) % 2 != 0)
    throw StreamError(Fault::corrupt, "the entropy-coded streams are not whole words");
  load_words(payload.subspan(header_size));
  size_t start = 0;
  for (size_t part = 0; part < count; ++part) {
    const size_t left = words_.size() - words_per_symbol - start;
    uint32_t size = static_cast<uint32_t>(left);
    if (part + 1 < count) std::memcpy(&size, &payload[1 + part * sizeof size], sizeof size);
    if (size > left || size < 2 * lanes)
      throw StreamError(Fault::truncated, "an entropy-coded stream is cut off");
    open_stream(words_.data() + start, size);
    start += size;
  }
}

void SymbolDecoder::open_stream(const uint16_t* words, size_t size) {
  Stream stream{{}, words + 2 * lanes, words + size};
  std::memcpy(stream.states.data(), words, sizeof stream.states);
  if (std::ranges::min(stream.states) < lowest_state)
    throw StreamError(Fault::corrupt, "a state of the entropy coder is too small");
  streams_.push_back(stream);
}

void SymbolDecoder::load_words(std::span<const uint8_t> bytes) {
  words_.resize(bytes.size() / 2 + words_per_symbol);
  std::ranges::copy(bytes, reinterpret_cast<uint8_t*>(words_.data()));
}

void SymbolDecoder::decode(std::span<const uint16_t> indexes, std::span<int16_t> symbols) {
  tables_.check(indexes);
  const auto skipped = static_cast<size_t>(std::ranges::count(indexes, skip));
  if (skipped == 0) return decode_coded(indexes, symbols);

  const size_t coded = indexes.size() - skipped;
  std::vector<uint16_t> coded_indexes(coded + 1);  // the extra place takes the last skips
  std::vector<int16_t> coded_symbols(coded + 1);
  size_t next = 0;
  for (const uint16_t index : indexes) {
    coded_indexes[next] = index;
    next += index != skip;
  }
  decode_coded(std::span(coded_indexes).first(coded), std::span(coded_symbols).first(coded));
  next = 0;
  for (size_t i = 0; i < indexes.size(); ++i) {
    symbols[i] = coded_symbols[next];
    next += indexes[i] != skip;
  }
  for (size_t i = 0; i < indexes.size(); ++i)  // apart, so that neither loop has a branch
    symbols[i] = indexes[i] == skip ? int16_t{0} : symbols[i];
}

void SymbolDecoder::decode_coded(std::span<const uint16_t> indexes, std::span<int16_t> symbols) {
  const auto decode_stream = [&, this](size_t part) {
    const auto [first, last] = part_range(indexes.size(), part, streams_.size());
    const auto part_indexes = indexes.subspan(first, last - first);
    const auto decode = compact_ ? decode_part<1> : decode_part<lanes>;
    return decode(tables_, streams_[part], part_indexes, symbols.data() + first);
  };
  const auto faults = for_each_part(streams_.size(), indexes.size(), decode_stream);
  if (std::ranges::count(faults, Fault::truncated))
    throw StreamError(Fault::truncated, "the entropy-coded bytes end too early");
  if (std::ranges::count(faults, Fault::corrupt))
    throw StreamError(Fault::corrupt, "an entropy-coded symbol is outside 16 bits");
}

void SymbolDecoder::finish() const {
  for (const Stream& stream : streams_) {
    const auto used = std::span(stream.states).first(compact_ ? 1 : lanes);
    if (std::ranges::count(used, lowest_state) != std::ranges::ssize(used))
      throw StreamError(Fault::desynchronised, "the entropy decoder did not end where it should");
    if (stream.next != stream.end)
      throw StreamError(Fault::corrupt, "entropy-coded bytes are left over");
  }
}

}  // namespace neuvid
