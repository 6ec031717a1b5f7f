// Fused blocks for processors with AVX-512 F, BW, VL and DQ.
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <new>
#include <utility>

#include "fused_level.h"
#include "pool.h"

namespace neuvid {
namespace {

#include "aligned.inl"
#include "registers_avx512.inl"

struct Registers : Registers512 {
  static constexpr std::size_t row_block = 12;
  static Vector sigmoid(Vector x) {
    const Vector powers = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f));
    const Vector t = _mm512_min_ps(_mm512_set1_ps(120.0f), powers);  // NaN stays
    const Vector f = _mm512_reduce_ps(t, 8);  // what is left of the nearest whole number
    Vector power = f * 0.0013333558f + 0.0096181291f;
    power = power * f + 0.0555041087f;
    power = power * f + 0.2402265069f;
    power = power * f + 0.6931471806f;
    power = power * f + 1.0f;
    const Vector sum = 1.0f + Vector(_mm512_scalef_ps(power, t - f));
    const Vector estimate = _mm512_rcp14_ps(sum);
    return estimate * (2.0f - sum * estimate);
  }
};

#include "fused_float.inl"
#include "fused.inl"
#include "fused_convolution.inl"
#include "fused_laplace.inl"

}  // namespace

extern const FusedKernels avx512_fused_kernels = {make_block, make_convolution, code_laplace};

}  // namespace neuvid
