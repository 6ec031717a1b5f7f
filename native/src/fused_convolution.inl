// The convolution of fused.h, as exact as float32, for one kind of processor; after fused.inl.

class Convolution final : public FusedConvolution {
 public:
  Convolution(const ConvolutionSizes& sizes, const float* weights, const float* bias)
      : sizes_(sizes),
        inputs_(sizes.kernel * sizes.kernel * sizes.inputs),
        depth_(round_up(inputs_, pair)),
        outputs_(round_up(sizes.outputs, pair)),
        sum_rows_(round_up(outputs_, Level::row_block)),
        bias_(padded(bias, sizes.outputs, outputs_)) {
    Array<float> matrix(outputs_ * depth_, 0.0f);
    for (size_t output = 0; output < sizes.outputs; ++output)
      std::copy_n(weights + output * inputs_, inputs_, &matrix[output * depth_]);
    Level::pack(matrix.data(), outputs_, depth_, Level::terms, weights_, weights_back_);
  }

  MapShape output_shape(const MapShape& input) const override {
    const auto side = [&](size_t length) {
      return (length + 2 * sizes_.padding - sizes_.kernel) / sizes_.stride + 1;
    };
    return {input.batch, side(input.height), side(input.width)};
  }

  void forward(const float* input, const MapShape& shape, float* output,
               size_t threads) const override {
    const MapShape to = output_shape(shape);
    run_chunks(to.pixels(), threads, scratch_bytes(), [&](Range range, size_t, Arena& arena) {
      const float* rows = patches(input, shape, to, range, arena);
      const size_t depth = Level::terms * depth_;
      Value* factors = arena.take<Value>(range.rows() * depth);
      Level::split_terms(rows, inputs_, inputs_, range.count, range.rows(), factors, depth_);
      Level::product(factors, depth, range.rows(), weights_.data(), depth, 0, outputs_,
                     [&](size_t row, size_t column, Vector one, Vector two) {
                       if (row >= range.count || column >= sizes_.outputs) return;
                       store(output + (range.first + row) * sizes_.outputs, column, sizes_.outputs,
                             one + Level::load(&bias_[column]),
                             two + Level::load(&bias_[column + width]));
                     });
    });
  }

  void backward(const float* input, const MapShape& shape, const float* output_gradient,
                float* input_gradient, float* weight_gradient, float* bias_gradient,
                size_t threads) const override {
    static thread_local Arena memory;
    const MapShape to = output_shape(shape);
    const size_t parts = part_count(to.pixels(), threads);
    const size_t sums_size = sum_rows_ * depth_ + outputs_;
    const size_t map = is_pointwise() ? 0 : to.pixels() * inputs_;
    memory.restart((parts * sums_size + map) * sizeof(float) + 64 * (parts + 1));
    std::vector<float*> sums;
    for (size_t part = 0; part < parts; ++part) sums.push_back(memory.take_zeros<float>(sums_size));
    float* patch_gradient = is_pointwise() ? input_gradient : memory.take<float>(map);
    run_chunks(to.pixels(), threads, scratch_bytes(), [&](Range range, size_t part, Arena& arena) {
      backward_chunk(patches(input, shape, to, range, arena), output_gradient, range,
                     patch_gradient, sums[part], arena);
    });
    for (size_t part = 1; part < parts; ++part)
      for (size_t i = 0; i < sums_size; ++i) sums[0][i] += sums[part][i];
    for (size_t output = 0; output < sizes_.outputs; ++output)
      std::copy_n(sums[0] + output * depth_, inputs_, weight_gradient + output * inputs_);
    std::copy_n(sums[0] + sum_rows_ * depth_, sizes_.outputs, bias_gradient);
    if (!is_pointwise()) add_patches(patch_gradient, shape, to, input_gradient, threads);
  }

 private:
  bool is_pointwise() const { return sizes_.kernel == 1 && sizes_.stride == 1 && !sizes_.padding; }

  size_t scratch_bytes() const {
    const size_t values = 2 * (depth_ + outputs_) + Level::terms * std::max(depth_, outputs_);
    return chunk * (values * sizeof(Value) + inputs_ * sizeof(float)) + 64 * 16;
  }

  static void store(float* row, size_t column, size_t count, Vector one, Vector two) {
    Level::store_part(row + column, one, count - column);
    if (column + width < count)
      Level::store_part(row + column + width, two, count - column - width);
  }

  // Calls use(tap, input pixel) for each input of an output pixel that is inside.
  template <class Use>
  void for_each_tap(const MapShape& from, const MapShape& to, size_t pixel, const Use& use) const {
    const size_t x = pixel % to.width, y = pixel / to.width % to.height;
    const size_t sample = pixel / (to.width * to.height);
    for (size_t tap = 0; tap < sizes_.kernel * sizes_.kernel; ++tap) {
      const size_t down = y * sizes_.stride + tap / sizes_.kernel - sizes_.padding;
      const size_t right = x * sizes_.stride + tap % sizes_.kernel - sizes_.padding;
      if (down < from.height && right < from.width)  // beyond the edge they wrap around
        use(tap, (sample * from.height + down) * from.width + right);
    }
  }

  // [range.count, inputs_]: what each output pixel sees.
  const float* patches(const float* input, const MapShape& from, const MapShape& to, Range range,
                       Arena& arena) const {
    if (is_pointwise()) return input + range.first * inputs_;
    float* rows = arena.take_zeros<float>(range.count * inputs_);
    for (size_t i = 0; i < range.count; ++i)
      for_each_tap(from, to, range.first + i, [&](size_t tap, size_t pixel) {
        std::copy_n(input + pixel * sizes_.inputs, sizes_.inputs,
                    rows + i * inputs_ + tap * sizes_.inputs);
      });
    return rows;
  }

  void backward_chunk(const float* rows, const float* output_gradient, Range range,
                      float* patch_gradient, float* sums, Arena& arena) const {
    const size_t count = sizes_.outputs, total = range.rows();
    const float* gradient = output_gradient + range.first * count;
    float* bias = sums + sum_rows_ * depth_;
    for (size_t row = 0; row < range.count; ++row)
      for (size_t column = 0; column < count; ++column)
        bias[column] += gradient[row * count + column];
    Value* gradient_values = arena.take<Value>(total * outputs_);
    to_values(gradient, count, range.count, total, gradient_values, outputs_);
    Value* row_values = arena.take<Value>(total * depth_);
    to_values(rows, inputs_, range.count, total, row_values, depth_);
    Value* workspace = arena.take<Value>(total * (outputs_ + depth_));
    Level::weight_gradient(gradient_values, outputs_, row_values, depth_, total, sums, range.begins,
                           workspace);
    const size_t depth = Level::terms * outputs_;
    Value* factors = arena.take<Value>(total * depth);
    Level::split_terms(gradient, count, count, range.count, total, factors, outputs_);
    Level::product(factors, depth, total, weights_back_.data(), depth, 0, depth_,
                   [&](size_t row, size_t column, Vector one, Vector two) {
                     if (row >= range.count || column >= inputs_) return;
                     store(patch_gradient + (range.first + row) * inputs_, column, inputs_, one,
                           two);
                   });
  }

  void add_patches(const float* gradient, const MapShape& from, const MapShape& to,
                   float* input_gradient, size_t threads) const {
    const size_t sample = to.height * to.width, size = from.height * from.width * sizes_.inputs;
    run_parts(std::min(threads, to.batch), to.batch, [&](size_t part) {
      std::fill_n(input_gradient + part * size, size, 0.0f);
      for (size_t i = part * sample; i < (part + 1) * sample; ++i)
        for_each_tap(from, to, i, [&](size_t tap, size_t pixel) {
          const float* row = gradient + i * inputs_ + tap * sizes_.inputs;
          float* sum = input_gradient + pixel * sizes_.inputs;
          for (size_t c = 0; c < sizes_.inputs; ++c) sum[c] += row[c];
        });
    });
  }

  ConvolutionSizes sizes_;
  size_t inputs_, depth_;  // of a patch, and padded
  size_t outputs_, sum_rows_;
  Array<float> bias_;
  Array<Value> weights_, weights_back_;
};

std::unique_ptr<FusedConvolution> make_convolution(const ConvolutionSizes& sizes,
                                                   const float* weights, const float* bias) {
  return std::make_unique<Convolution>(sizes, weights, bias);
}
