// Fused blocks for processors with AMX tiles of bfloat16.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "fused_level.h"
#include "pool.h"

namespace neuvid {
namespace {

#include "aligned.inl"
#include "registers_avx512.inl"

using std::size_t;
using std::uint16_t;

constexpr size_t tile_rows = 16, tile_values = 512;  // 16 rows of 64 bytes

// Turns 16 rows of 16 words of 32 bits into columns.
inline void turn(const void* from, size_t stride, void* to, size_t to_stride) {
  __m512i rows[16], turned[16];
  const char* bytes = static_cast<const char*>(from);
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) rows[i] = _mm512_loadu_si512(bytes + i * stride);
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) {
    turned[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    turned[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(turned[i], turned[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(turned[i], turned[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(turned[i + 1], turned[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(turned[i + 1], turned[i + 3]);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    turned[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    turned[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xDD);
    turned[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    turned[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xDD);
  }
  char* out = static_cast<char*>(to);
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    const auto put = [&](size_t row, __m512i value) {
      _mm512_storeu_si512(out + row * to_stride, value);
    };
    put(i, _mm512_shuffle_i32x4(turned[i], turned[i + 8], 0x88));
    put(i + 8, _mm512_shuffle_i32x4(turned[i], turned[i + 8], 0xDD));
    put(i + 4, _mm512_shuffle_i32x4(turned[i + 4], turned[i + 12], 0x88));
    put(i + 12, _mm512_shuffle_i32x4(turned[i + 4], turned[i + 12], 0xDD));
  }
}

// [rows, columns] to tiles [columns / 16][rows / 32][16][16][2], which hold pairs of rows.
inline void pair_rows(const uint16_t* from, size_t stride, size_t rows, size_t columns,
                      uint16_t* to) {
  alignas(64) uint16_t places[2][32];
  for (size_t half = 0; half < 2; ++half)
    for (size_t i = 0; i < 32; ++i) places[half][i] = uint16_t(half * 16 + i / 2 + (i % 2) * 32);
  const __m512i low = _mm512_load_si512(places[0]), high = _mm512_load_si512(places[1]);
  for (size_t column = 0; column < columns; column += 32) {
    uint16_t* out = to + column * rows;
    for (size_t row = 0; row < rows; row += 2, out += 32) {
      const __m512i one = _mm512_loadu_si512(from + row * stride + column);
      const __m512i two = _mm512_loadu_si512(from + (row + 1) * stride + column);
      _mm512_storeu_si512(out, _mm512_permutex2var_epi16(one, low, two));
      _mm512_storeu_si512(out + 16 * rows, _mm512_permutex2var_epi16(one, high, two));
    }
  }
}

// Makes the compiler write to memory what tiles are about to read from it.
inline void finish_writes() { __asm__ volatile("" ::: "memory"); }

struct alignas(64) TileConfig {
  std::uint8_t palette = 0, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  std::uint8_t rows[16] = {};
};

struct Level : Registers512 {
  using Value = uint16_t;  // bfloat16
  static constexpr size_t row_block = 32, chunk = 256, pair = 32, terms = 3;
  static constexpr bool keeps_widened = false;

  // Sets the shapes of the tiles, and puts back what other code has set. Numbers too small for
  // normal floats are zero: they would take hundreds of cycles each.
  class Tiles {
   public:
    Tiles() : modes_before_(_mm_getcsr()) {
      constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
      _mm_setcsr(modes_before_ | flush_to_zero | denormals_are_zero);
      _tile_storeconfig(&before_);
      TileConfig config;
      config.palette = 1;
      for (size_t tile = 0; tile < 8; ++tile) config.bytes[tile] = 64, config.rows[tile] = 16;
      finish_writes();
      _tile_loadconfig(&config);
    }
    ~Tiles() {
      finish_writes();
      _tile_loadconfig(&before_);
      _mm_setcsr(modes_before_);
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

   private:
    TileConfig before_;
    unsigned modes_before_;
  };

  static __m512i both(Vector first, Vector second) {
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
  }
  static void store_values(Value* values, Vector first, Vector second) {
    _mm512_storeu_si512(values, both(first, second));
  }
  static void store_value(Value* values, Vector vector) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), (__m256i)_mm512_cvtneps_pbh(vector));
  }
  static Vector load_value(const Value* values) {
    const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
  }
  struct Halves {
    Vector first, second;
  };
  // Even channels, odd channels.
  static Halves split(const Value* values) {
    const __m512i pairs = _mm512_loadu_si512(values);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(int(0xFFFF0000))))};
  }
  static void join(Value* values, Vector even, Vector odd) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    _mm512_storeu_si512(values, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
  static constexpr size_t place(size_t channel) {
    return channel / pair * pair + channel % 2 * width + channel % pair / 2;
  }
  // Good to 13 bits, which factors of 8 cannot tell from more.
  static Vector sigmoid(Vector x) {
    const Vector t = x * -1.44269504f;
    const Vector f = _mm512_reduce_ps(t, 9);  // what is left of the whole number below
    Vector power = f * 0.0780245226f + 0.2260671220f;
    power = power * f + 0.6958335180f;
    power = power * f + 0.9999252000f;
    return _mm512_rcp14_ps(1.0f + Vector(_mm512_scalef_ps(power, t)));
  }

  // A product of factors in two parts each: high * high + low * high + high * low.
  static void split_terms(const float* rows, size_t count, size_t stride, size_t present,
                          size_t total, Value* factors, size_t padded) {
    for (size_t row = 0; row < total; ++row)
      for (size_t c = 0; c < padded; c += pair) {
        Vector first = {}, second = {};
        if (row < present) {
          first = load_part(rows + row * stride + c, count - std::min(count, c));
          second = load_part(rows + row * stride + c + width, count - std::min(count, c + width));
        }
        Value* to = factors + row * terms * padded + c;
        store_values(to, first, second), store_values(to + 2 * padded, first, second);
        store_values(to + padded, first - rounded(first), second - rounded(second));
      }
  }
  static Vector rounded(Vector vector) {
    const __m512i values = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(vector));
    return _mm512_castsi512_ps(_mm512_slli_epi32(values, 16));
  }

  // A matrix [outputs, inputs] as tiles [outputs / 16][inputs / 32][16 pairs of inputs][16][2], and
  // the same of the transpose. Terms are more inputs: high, high, low parts.
  static void pack(const float* matrix, size_t outputs, size_t inputs, size_t parts,
                   Array<Value>& forward, Array<Value>& backward) {
    static thread_local Array<Value> values;  // [parts][outputs, inputs]
    const size_t size = outputs * inputs;
    values.resize(parts * size);
    for (size_t i = 0; i < size; i += pair) {
      const Vector first = load(matrix + i), second = load(matrix + i + width);
      store_values(&values[i], first, second);
      if (parts == 1) continue;
      store_values(&values[size + i], first, second);
      store_values(&values[2 * size + i], first - rounded(first), second - rounded(second));
    }
    forward.resize(parts * size);
    backward.resize(parts * size);
    Value* to = forward.data();
    for (size_t output = 0; output < outputs; output += tile_rows)
      for (size_t part = 0; part < parts; ++part)
        for (size_t input = 0; input < inputs; input += 32, to += tile_values)
          turn(&values[part * size + output * inputs + input], inputs * sizeof(Value), to, 64);
    pair_rows(values.data(), inputs, parts * outputs, inputs, backward.data());
  }

  // Adds to 32 rows by 32 columns, tiles 0 to 3, the products of 32 values each.
  static inline void multiply(const Value* left, size_t left_stride, size_t left_below,
                              const Value* right, size_t right_stride, size_t right_beside) {
    _tile_loadd(4, left, left_stride);
    _tile_loadd(6, right, right_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right + right_beside, right_stride);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left + left_below, left_stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }

  static void zero_tiles() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }

  static void store_tiles(float* to, size_t stride) {
    _tile_stored(0, to, stride * sizeof(float));
    _tile_stored(1, to + 16, stride * sizeof(float));
    _tile_stored(2, to + 16 * stride, stride * sizeof(float));
    _tile_stored(3, to + 16 * stride + 16, stride * sizeof(float));
  }

  // While the tiles of a block are multiplied, the rows of the block before it are used.
  template <class Use>
  static inline void product(const Value* left, size_t stride, size_t rows, const Value* packed,
                             size_t depth, size_t first, size_t columns, Use&& use) {
    alignas(64) float sums[2][row_block][pair];
    const size_t steps = depth / 32;
    finish_writes();
    size_t done = row_block, done_row = 0, done_column = 0, now = 0;  // rows used of the last block
    const auto use_rows = [&](size_t end) {
      for (; done < end; ++done) {
        const float* row = sums[1 - now][done];
        use(done_row + done, done_column, Vector(load(row)), Vector(load(row + width)));
      }
    };
    for (size_t column = first; column < first + columns; column += pair)
      for (size_t row = 0; row < rows; row += row_block) {
        zero_tiles();
        const Value* from = packed + column * depth;
        for (size_t step = 0; step < steps; ++step) {
          multiply(left + row * stride + 32 * step, stride * sizeof(Value), 16 * stride,
                   from + step * tile_values, 64, 16 * depth);
          use_rows((step + 1) * row_block / steps);
        }
        store_tiles(sums[now][0], pair);
        done = 0, done_row = row, done_column = column, now = 1 - now;
      }
    use_rows(row_block);
  }

  // `workspace` has room for rows * (left_count + right_count) values.
  static void weight_gradient(const Value* left, size_t left_count, const Value* right,
                              size_t right_count, size_t rows, float* sums, bool begins,
                              Value* workspace) {
    Value* turned = workspace;  // [left_count / 16][rows / 32][16][32]
    Value* paired = workspace + rows * left_count;
    pair_rows(right, right_count, rows, right_count, paired);
    alignas(64) Value pairs[32 * 32];
    for (size_t row = 0; row < rows; row += 32)
      for (size_t column = 0; column < left_count; column += 32) {
        pair_rows(left + row * left_count + column, left_count, 32, 32, pairs);
        Value* to = turned + column * rows + row * 16;
        turn(pairs, 64, to, 64), turn(pairs + tile_values, 64, to + 16 * rows, 64);
      }
    finish_writes();
    for (size_t column = 0; column < right_count; column += 32)
      for (size_t row = 0; row < left_count; row += 32) {
        float* to = sums + row * right_count + column;
        const size_t stride = right_count * sizeof(float);
        if (begins) {
          zero_tiles();
        } else {
          _tile_loadd(0, to, stride);
          _tile_loadd(1, to + 16, stride);
          _tile_loadd(2, to + 16 * right_count, stride);
          _tile_loadd(3, to + 16 * right_count + 16, stride);
        }
        for (size_t step = 0; step < rows / 32; ++step)
          multiply(turned + row * rows + step * tile_values, 64, 16 * rows,
                   paired + column * rows + step * tile_values, 64, 16 * rows);
        store_tiles(to, right_count);
      }
  }
};

#include "fused.inl"
#include "fused_convolution.inl"
#include "fused_laplace.inl"

}  // namespace

bool amx_is_usable() {
  constexpr long request_permission = 0x1023, tile_data = 18;
  unsigned int a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  const bool has_tiles = (d >> 22 & 1) && (d >> 24 & 1);  // AMX-BF16, AMX-TILE
  return has_tiles && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

extern const FusedKernels amx_fused_kernels = {make_block, make_convolution, code_laplace};

}  // namespace neuvid
