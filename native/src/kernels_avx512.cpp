// Kernels for processors with AVX-512 and its neural network instructions (VNNI).
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

inline __m512i pair_of(const int16_t* row) {
  int32_t pair;
  std::memcpy(&pair, row, sizeof pair);
  return _mm512_set1_epi32(pair);
}

template <size_t groups>
inline void multiply_groups(const PanelInput& input, PanelSums& sums) {
  __m512i totals[group_rows][groups] = {};
  const int16_t* columns = input.columns;
  for (size_t pair = 0; pair < input.pairs; ++pair, columns += 2 * group_columns) {
    __m512i weights[groups];
#pragma GCC unroll 4
    for (size_t group = 0; group < groups; ++group)
      weights[group] = _mm512_loadu_si512(columns + group * input.group_stride);
#pragma GCC unroll 6
    for (size_t r = 0; r < group_rows; ++r) {
      const __m512i row = pair_of(input.rows + r * input.row_stride + 2 * pair);
#pragma GCC unroll 4
      for (size_t group = 0; group < groups; ++group)
        totals[r][group] = _mm512_dpwssd_epi32(totals[r][group], row, weights[group]);
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < group_rows; ++r)
#pragma GCC unroll 4
    for (size_t group = 0; group < groups; ++group)
      _mm512_storeu_si512(sums[r] + group * group_columns, totals[r][group]);
}

void multiply_panel(const PanelInput& input, size_t groups, PanelSums& sums) {
  switch (groups) {
    case 1: return multiply_groups<1>(input, sums);
    case 2: return multiply_groups<2>(input, sums);
    case 3: return multiply_groups<3>(input, sums);
    default: return multiply_groups<4>(input, sums);
  }
}

#include "kernels.inl"

}  // namespace

extern const Kernels avx512_kernels = kernels("avx512");

}  // namespace neuvid
