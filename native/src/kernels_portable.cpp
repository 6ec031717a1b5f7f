// Kernels for any processor.
#include <cfloat>
#include <cstring>

#include "kernels.h"

namespace neuvid {
namespace {

using std::int16_t;
using std::int32_t;
using std::size_t;
using std::uint32_t;

void multiply_panel(const PanelInput& input, size_t groups, PanelSums& sums) {
  for (size_t group = 0; group < groups; ++group)
    for (size_t r = 0; r < group_rows; ++r) {
      const int16_t* __restrict row = input.rows + r * input.row_stride;
      const int16_t* __restrict columns = input.columns + group * input.group_stride;
      int32_t total[group_columns] = {};
      for (size_t pair = 0; pair < input.pairs; ++pair, row += 2, columns += 2 * group_columns) {
        const int16_t first = row[0], second = row[1];
#pragma GCC unroll 1  // a loop is vectorised where its unrolled form is not
        for (size_t c = 0; c < group_columns; ++c)
          total[c] += first * columns[2 * c] + second * columns[2 * c + 1];
      }
      for (size_t c = 0; c < group_columns; ++c) sums[r][group * group_columns + c] = total[c];
    }
}

#include "kernels.inl"

}  // namespace

extern const Kernels portable_kernels = kernels("portable");

}  // namespace neuvid
