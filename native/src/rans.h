// Interleaved rANS over integer tables; docs/entropy-coding.md describes the bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "tables.h"

namespace neuvid {

inline constexpr std::uint32_t lowest_state = 1u << 16;  // states stay in [lowest_state, 2^32)
inline constexpr std::size_t lanes = 4;                  // interleaved states of a stream
inline constexpr std::size_t max_streams = 16;

enum class Fault { none, truncated, corrupt, desynchronised };

class StreamError : public std::runtime_error {
 public:
  StreamError(Fault fault, const char* reason) : std::runtime_error(reason), fault(fault) {}
  Fault fault;
};

class SymbolEncoder {
 public:
  explicit SymbolEncoder(const Tables& tables) : tables_(tables) {}

  void append(std::span<const std::int16_t> symbols, std::span<const std::uint16_t> indexes);

  // Returns the payload of everything appended, and forgets it. `streams` is 1..max_streams, or
  // 0 for the compact form.
  std::vector<std::uint8_t> finish(std::size_t streams);

 private:
  const Tables& tables_;
  std::vector<std::int16_t> symbols_;  // of the coded positions only
  std::vector<std::uint16_t> indexes_;
  std::vector<std::size_t> call_ends_;  // where each call of append ends in symbols_
};

class SymbolDecoder {
 public:
  // Throws StreamError, as do the calls below.
  SymbolDecoder(const Tables& tables, std::span<const std::uint8_t> payload, bool compact);
  SymbolDecoder(const SymbolDecoder&) = delete;  // streams_ points into words_

  // Decodes one call of append.
  void decode(std::span<const std::uint16_t> indexes, std::span<std::int16_t> symbols);

  // Checks that every stream ends exactly here.
  void finish() const;

  struct Stream {
    std::array<std::uint32_t, lanes> states;
    const std::uint16_t* next;
    const std::uint16_t* end;
  };

 private:
  void open_compact(std::span<const std::uint8_t> payload);
  void open_streams(std::span<const std::uint8_t> payload);
  void open_stream(const std::uint16_t* words, std::size_t size);
  void load_words(std::span<const std::uint8_t> bytes);
  void decode_coded(std::span<const std::uint16_t> indexes, std::span<std::int16_t> symbols);

  const Tables& tables_;
  bool compact_;
  std::vector<std::uint16_t> words_;  // of all streams, with room to read past their end
  std::vector<Stream> streams_;
};

}  // namespace neuvid
