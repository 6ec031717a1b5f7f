// Kernels for processors with AVX2.
#include <immintrin.h>

#include <cfloat>
#include <cstring>

#include "kernels.h"

namespace neuvid {
namespace {

using std::int16_t;
using std::int32_t;
using std::size_t;
using std::uint32_t;

inline __m256i pair_of(const int16_t* row) {
  int32_t pair;
  std::memcpy(&pair, row, sizeof pair);
  return _mm256_set1_epi32(pair);
}

void multiply_panel(const PanelInput& input, size_t groups, PanelSums& sums) {
  for (size_t group = 0; group < groups; ++group) {
    const int16_t* columns = input.columns + group * input.group_stride;
    __m256i low[group_rows] = {}, high[group_rows] = {};
    for (size_t pair = 0; pair < input.pairs; ++pair, columns += 2 * group_columns) {
      const auto* vectors = reinterpret_cast<const __m256i*>(columns);
      const __m256i first = _mm256_loadu_si256(vectors);
      const __m256i second = _mm256_loadu_si256(vectors + 1);
#pragma GCC unroll 6
      for (size_t r = 0; r < group_rows; ++r) {
        const __m256i row = pair_of(input.rows + r * input.row_stride + 2 * pair);
        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(row, first));
        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(row, second));
      }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < group_rows; ++r) {
      auto* target = reinterpret_cast<__m256i*>(sums[r] + group * group_columns);
      _mm256_storeu_si256(target, low[r]);
      _mm256_storeu_si256(target + 1, high[r]);
    }
  }
}

#include "kernels.inl"

}  // namespace

extern const Kernels avx2_kernels = kernels("avx2");

}  // namespace neuvid
