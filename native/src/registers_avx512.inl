// Vectors of 16 floats.
struct Registers512 {
  using Vector = __m512;
  static constexpr std::size_t width = 16;
  static Vector load(const float* values) { return _mm512_loadu_ps(values); }
  static void store(float* values, Vector vector) { _mm512_storeu_ps(values, vector); }
  static Vector broadcast(float value) { return _mm512_set1_ps(value); }
  static __mmask16 first(std::size_t count) {
    return count >= width ? __mmask16(0xFFFF) : __mmask16((1u << count) - 1);
  }
  static Vector load_part(const float* values, std::size_t count) {
    return _mm512_maskz_loadu_ps(first(count), values);
  }
  static void store_part(float* values, Vector vector, std::size_t count) {
    _mm512_mask_storeu_ps(values, first(count), vector);
  }
};
