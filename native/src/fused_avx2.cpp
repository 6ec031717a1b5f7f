// Fused blocks for processors with AVX2 and fused multiplication and addition.
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

struct Registers {
  using Vector = __m256;
  static constexpr std::size_t width = 8, row_block = 6;
  static Vector load(const float* values) { return _mm256_loadu_ps(values); }
  static void store(float* values, Vector vector) { _mm256_storeu_ps(values, vector); }
  static Vector broadcast(float value) { return _mm256_set1_ps(value); }
  static __m256i first(std::size_t count) {
    const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(std::min(count, width))), places);
  }
  static Vector load_part(const float* values, std::size_t count) {
    return count >= width ? load(values) : _mm256_maskload_ps(values, first(count));
  }
  static void store_part(float* values, Vector vector, std::size_t count) {
    if (count >= width) return store(values, vector);
    _mm256_maskstore_ps(values, first(count), vector);
  }
  static Vector sigmoid(Vector x) {
    const Vector powers = x * -1.44269504f;
    const Vector low = _mm256_max_ps(_mm256_set1_ps(-120.0f), powers);  // NaN stays
    const Vector t = _mm256_min_ps(_mm256_set1_ps(120.0f), low);
    const Vector whole = _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const Vector f = t - whole;
    Vector power = f * 0.0013333558f + 0.0096181291f;
    power = power * f + 0.0555041087f;
    power = power * f + 0.2402265069f;
    power = power * f + 0.6931471806f;
    power = power * f + 1.0f;
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23);
    const __m256i scaled = _mm256_add_epi32(_mm256_castps_si256(power), exponent);
    return 1.0f / (1.0f + _mm256_castsi256_ps(scaled));
  }
};

#include "fused_float.inl"
#include "fused.inl"
#include "fused_convolution.inl"
#include "fused_laplace.inl"

}  // namespace

extern const FusedKernels avx2_fused_kernels = {make_block, make_convolution, code_laplace};

}  // namespace neuvid
