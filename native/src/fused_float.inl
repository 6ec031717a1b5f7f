// What the levels with float32 products share. The file that includes this defines `Registers`:
// a vector and its operations.

using std::size_t;

struct Level : Registers {
  using Value = float;
  static constexpr size_t chunk = 192, terms = 1;
  static constexpr bool keeps_widened = true;
  struct Tiles {};
  static constexpr size_t pair = 2 * width;

  static Vector load_value(const float* values) { return load(values); }
  static void store_value(float* values, Vector vector) { store(values, vector); }
  static void store_values(float* values, Vector first, Vector second) {
    store(values, first), store(values + width, second);
  }
  struct Halves {
    Vector first, second;
  };
  static Halves split(const float* values) { return {load(values), load(values + width)}; }
  static void join(float* values, Vector first, Vector second) {
    store_values(values, first, second);
  }
  static constexpr size_t place(size_t channel) { return channel; }

  static void split_terms(const float* rows, size_t count, size_t stride, size_t present,
                          size_t total, float* factors, size_t padded) {
    std::fill_n(factors, total * padded, 0.0f);
    for (size_t row = 0; row < present; ++row)
      std::copy_n(rows + row * stride, count, factors + row * padded);
  }

  // [outputs / pair][inputs][pair], and the same of the transpose.
  static void pack(const float* matrix, size_t outputs, size_t inputs, size_t,
                   Array<float>& forward, Array<float>& backward) {
    forward.resize(outputs * inputs);
    backward.resize(outputs * inputs);
    for (size_t output = 0; output < outputs; ++output)
      for (size_t input = 0; input < inputs; ++input)
        forward[(output / pair * inputs + input) * pair + output % pair] =
            matrix[output * inputs + input];
    for (size_t start = 0; start < inputs; start += pair)
      for (size_t output = 0; output < outputs; ++output)
        std::copy_n(matrix + output * inputs + start, pair,
                    &backward[start * outputs + output * pair]);
  }

  // The products of row_block rows, whose values lie `step` apart, with `pair` columns.
  template <size_t rows>
  static inline void multiply(const float* left, size_t stride, size_t step, const float* right,
                              size_t right_stride, size_t depth, Vector (&sums)[rows][2]) {
    for (size_t k = 0; k < depth; ++k, left += step, right += right_stride) {
      const Vector one = load(right), two = load(right + width);
#pragma GCC unroll 16
      for (size_t row = 0; row < rows; ++row) {
        const Vector factor = broadcast(left[row * stride]);
        sums[row][0] += factor * one, sums[row][1] += factor * two;
      }
    }
  }

  template <class Use>
  static void product(const float* left, size_t stride, size_t rows, const float* packed,
                      size_t depth, size_t first, size_t columns, Use&& use) {
    for (size_t column = first; column < first + columns; column += pair)
      for (size_t row = 0; row < rows; row += row_block) {
        Vector sums[row_block][2] = {};
        multiply<row_block>(left + row * stride, stride, 1, packed + column * depth, pair, depth,
                            sums);
#pragma GCC unroll 16
        for (size_t i = 0; i < row_block; ++i) use(row + i, column, sums[i][0], sums[i][1]);
      }
  }

  // The rows of `sums` are rounded up to whole blocks; what is read beyond `left` is not used.
  static void weight_gradient(const float* left, size_t left_count, const float* right,
                              size_t right_count, size_t rows, float* sums, bool begins, float*) {
    for (size_t column = 0; column < right_count; column += pair)
      for (size_t row = 0; row < left_count; row += row_block) {
        Vector totals[row_block][2] = {};
        multiply<row_block>(left + row, 1, left_count, right + column, right_count, rows, totals);
        for (size_t i = 0; i < row_block; ++i) {
          float* to = sums + (row + i) * right_count + column;
          if (!begins) totals[i][0] += load(to), totals[i][1] += load(to + width);
          store(to, totals[i][0]), store(to + width, totals[i][1]);
        }
      }
  }
};
