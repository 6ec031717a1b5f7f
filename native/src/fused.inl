// The block of fused.h for one kind of processor. The file that includes this defines `Level`:
//
//   Vector, width            a vector of `width` floats
//   Value                    what factors of products are stored as
//   row_block, chunk         rows multiplied at once; rows between two passes over the weights
//   keeps_widened            whether the widest map is stored for backward, or computed again
//   terms                    factors of a product that is as exact as float32
//   load, store, *_part      vectors of floats, whole or a part (the rest is 0)
//   store_values             2 vectors as 2 * width values side by side; store_value 1 vector
//   split, join, place       the same in an order that is cheaper; `place` is that of a channel
//   sigmoid
//   Tiles                    made by each thread before its products
//   split_terms              floats as the `terms` factors on the left side of an exact product
//   pack                     a matrix [outputs, inputs] for `product`, and its transpose
//   product                  rows times packed weights, given to a function by blocks
//   weight_gradient          left^T right, or adds it
//
// Maps have their channels padded with zeros to a multiple of two vectors, and their pixels to one
// of `row_block`. The widened channels lie in pairs of vectors: `width` channels of the first half
// beside those of the second half with which they are summed.

using std::size_t;
using Vector = Level::Vector;
using Value = Level::Value;
constexpr size_t width = Level::width, pair = 2 * width, chunk = Level::chunk;
constexpr size_t taps = 9;

constexpr size_t round_up(size_t count, size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

// Memory that one thread goes on using from one call to the next.
class Arena {
 public:
  // Makes everything that was taken free again; `bytes` bounds what will be taken.
  void restart(size_t bytes) {
    if (size_ < bytes) {
      memory_.reset(new (std::align_val_t(64)) std::byte[bytes]);
      size_ = bytes;
    }
    used_ = 0;
  }
  template <class T>
  T* take(size_t count) {
    T* taken = reinterpret_cast<T*>(memory_.get() + used_);
    used_ += round_up(count * sizeof(T), 64);
    return taken;
  }
  template <class T>
  T* take_zeros(size_t count) {
    T* taken = take<T>(count);
    std::fill_n(taken, count, T{});
    return taken;
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { operator delete[](memory, std::align_val_t(64)); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
  size_t size_ = 0, used_ = 0;
};

struct Range {
  size_t first, count;  // pixels
  bool begins;          // the part of its thread
  size_t rows() const { return round_up(count, Level::row_block); }
};

inline size_t part_count(size_t pixels, size_t threads) {
  return std::min(threads, (pixels + chunk - 1) / chunk);
}

// Calls work(range, part, arena) for each chunk; a part is what one thread does in order.
template <class Work>
void run_chunks(size_t pixels, size_t threads, size_t scratch_bytes, const Work& work) {
  const size_t chunks = (pixels + chunk - 1) / chunk, parts = part_count(pixels, threads);
  const auto run = [&](size_t part) {
    static thread_local Arena arena;
    [[maybe_unused]] const Level::Tiles tiles;
    const size_t begin = part * chunks / parts, end = (part + 1) * chunks / parts;
    for (size_t i = begin; i < end; ++i) {
      arena.restart(scratch_bytes);
      work(Range{i * chunk, std::min(chunk, pixels - i * chunk), i == begin}, part, arena);
    }
  };
  if (parts == 1) return run(0);
  run_parts(parts, parts, run);
}

class Block final : public FusedBlock {
 public:
  Block(const BlockSizes& sizes, const BlockTensors<const float>& weights);

  size_t saved_bytes(const MapShape& shape) const override {
    const size_t rows = round_up(shape.pixels(), Level::row_block);
    const size_t maps = has_adaptor_ ? 4 : 3;
    return rows * (maps * channels_ + (Level::keeps_widened ? 2 * hidden_ : 0)) * sizeof(Value);
  }
  void forward(const float* input, const MapShape& shape, float* output, std::byte* saved,
               size_t threads) const override;
  void backward(const float* input, const MapShape& shape, const std::byte* saved,
                const float* output_gradient, float* input_gradient,
                const BlockTensors<float>& gradients, size_t threads) const override;

 private:
  // What forward keeps for backward; each [rows, channels].
  struct Saved {
    Value *adapted, *expanded, *filtered, *spatial, *widened;
  };
  // Sums over the pixels of one thread.
  struct Sums {
    float* first;
    size_t size;
    float *adaptor, *expand, *depthwise, *project, *widen, *narrow;
    float *adaptor_bias, *expand_bias, *depthwise_bias, *project_bias, *widen_bias, *narrow_bias;
  };
  Saved saved_maps(std::byte* memory, const MapShape& shape) const;
  size_t sums_size() const;
  Sums take_sums(Arena& arena) const;
  void write_gradients(const std::vector<Sums>& parts, const BlockTensors<float>& out) const;

  template <class Work>
  void for_each_chunk(const MapShape& shape, size_t threads, const Work& work) const {
    run_chunks(shape.pixels(), threads, scratch_bytes(), work);
  }
  void expand(const float* input, Range range, float* adapted, const Saved& saved, Value* activated,
              Arena& arena) const;
  void mix(const float* adapted, size_t adapted_stride, const Value* activated,
           const MapShape& shape, Range range, const Saved& saved, float* output,
           Arena& arena) const;
  void mix_backward(const float* output_gradient, Range range, const Saved& saved,
                    float* adapted_gradient, size_t stride, Value* filtered_gradient,
                    const Sums& sums, Arena& arena) const;
  void expand_backward(const float* input, const MapShape& shape, Range range, const Saved& saved,
                       const Value* filtered_gradient, float* adapted_gradient, size_t stride,
                       float* input_gradient, const Sums& sums, Arena& arena) const;
  size_t scratch_bytes() const;

  size_t given_, given_channels_;      // channels as the caller has them
  size_t inputs_, channels_, hidden_;  // padded; hidden are those of a half
  bool has_adaptor_, shortcut_;
  Array<Value> adaptor_, expand_, project_, widen_, narrow_;
  Array<Value> adaptor_back_, expand_back_, project_back_, widen_back_, narrow_back_;
  Array<float> adaptor_bias_, expand_bias_, project_bias_, widen_bias_, narrow_bias_;
  Array<float> depthwise_, depthwise_bias_;  // [9, channels] and [channels] as split
  size_t sum_rows_;                          // of sums with a row for each channel
};

// Where a padded, paired column of the widened channels comes from; none is `missing`.
constexpr size_t missing = ~size_t{0};
inline size_t widened_channel(size_t column, size_t hidden) {
  const size_t place = column / pair * width + column % width, half = column / width % 2;
  return place < hidden ? half * hidden + place : missing;
}

inline Array<float> padded(const float* values, size_t count, size_t size) {
  Array<float> result(size, 0.0f);
  std::copy_n(values, count, result.begin());
  return result;
}

// One vector of channels of each 3x3 neighbour of `count` pixels; `zeros` where there is none.
inline void find_neighbours(const Value* map, size_t stride, const Value* zeros,
                            const MapShape& shape, size_t first, size_t count, size_t rows,
                            const Value** neighbours) {
  const size_t height = shape.height, columns = shape.width;
  size_t x = first % columns, y = first / columns % height;
  for (size_t i = 0; i < rows; ++i, neighbours += taps) {
    for (size_t tap = 0; tap < taps; ++tap) {
      const size_t down = y + tap / 3, right = x + tap % 3;  // one too many
      const bool inside =
          i < count && down >= 1 && down <= height && right >= 1 && right <= columns;
      const Value* centre = map + (first + i) * stride;
      const std::ptrdiff_t offset =
          (std::ptrdiff_t(tap / 3) - 1) * std::ptrdiff_t(columns) + std::ptrdiff_t(tap % 3) - 1;
      neighbours[tap] = inside ? centre + offset * std::ptrdiff_t(stride) : zeros;
    }
    if (++x == columns) {
      x = 0;
      if (++y == height) y = 0;
    }
  }
}

inline Vector silu_slope(Vector x, Vector sigmoid) {
  return sigmoid * (1.0f + x * (1.0f - sigmoid));
}

// Rows of `count` floats as values; zeros from row `present` on.
inline void to_values(const float* rows, size_t count, size_t present, size_t total, Value* values,
                      size_t stride) {
  for (size_t row = 0; row < total; ++row)
    for (size_t c = 0; c < stride; c += pair) {
      Vector first = {}, second = {};
      if (row < present) {
        const float* from = rows + row * count + c;
        first = Level::load_part(from, count - std::min(count, c));
        second = Level::load_part(from + width, count - std::min(count, c + width));
      }
      Level::store_values(values + row * stride + c, first, second);
    }
}

Block::Block(const BlockSizes& sizes, const BlockTensors<const float>& weights)
    : given_(sizes.inputs),
      given_channels_(sizes.channels),
      inputs_(round_up(sizes.inputs, pair)),
      channels_(round_up(sizes.channels, pair)),
      hidden_(round_up(2 * sizes.channels, pair)),
      has_adaptor_(weights.adaptor != nullptr),
      shortcut_(sizes.shortcut),
      sum_rows_(round_up(channels_, Level::row_block)) {
  const size_t c = given_channels_;
  const auto pack = [](const float* matrix, size_t rows, size_t columns, size_t all_rows,
                       size_t all_columns, size_t terms, Array<Value>& forward,
                       Array<Value>& backward) {
    Array<float> whole;
    if (rows < all_rows || columns < all_columns) {
      whole.assign(all_rows * all_columns, 0.0f);
      for (size_t row = 0; row < rows; ++row)
        std::copy_n(matrix + row * columns, columns, &whole[row * all_columns]);
      matrix = whole.data();
    }
    Level::pack(matrix, all_rows, all_columns, terms, forward, backward);
  };
  pack(weights.expand, c, c, channels_, channels_, 1, expand_, expand_back_);
  pack(weights.project, c, c, channels_, channels_, 1, project_, project_back_);
  pack(weights.narrow, c, 2 * c, channels_, hidden_, 1, narrow_, narrow_back_);
  Array<float> paired(2 * hidden_ * c, 0.0f);
  widen_bias_.assign(2 * hidden_, 0.0f);
  for (size_t column = 0; column < 2 * hidden_; ++column)
    if (const size_t channel = widened_channel(column, 2 * c); channel != missing) {
      widen_bias_[column] = weights.widen_bias[channel];
      std::copy_n(weights.widen + channel * c, c, &paired[column * c]);
    }
  pack(paired.data(), 2 * hidden_, c, 2 * hidden_, channels_, 1, widen_, widen_back_);
  expand_bias_ = padded(weights.expand_bias, c, channels_);
  project_bias_ = padded(weights.project_bias, c, channels_);
  narrow_bias_ = padded(weights.narrow_bias, c, channels_);
  if (has_adaptor_) {
    pack(weights.adaptor, c, given_, channels_, inputs_, Level::terms, adaptor_, adaptor_back_);
    adaptor_bias_ = padded(weights.adaptor_bias, c, channels_);
  }
  depthwise_.assign(taps * channels_, 0.0f);
  depthwise_bias_.assign(channels_, 0.0f);
  for (size_t channel = 0; channel < c; ++channel) {
    const size_t place = Level::place(channel);
    depthwise_bias_[place] = weights.depthwise_bias[channel];
    for (size_t tap = 0; tap < taps; ++tap)
      depthwise_[tap * channels_ + place] = weights.depthwise[channel * taps + tap];
  }
}

Block::Saved Block::saved_maps(std::byte* memory, const MapShape& shape) const {
  const size_t map = round_up(shape.pixels(), Level::row_block) * channels_;
  Value* values = reinterpret_cast<Value*>(memory);
  Saved saved = {};
  saved.expanded = values;
  saved.filtered = values + map;
  saved.spatial = values + 2 * map;
  if (has_adaptor_) saved.adapted = values + 3 * map;
  if (Level::keeps_widened) saved.widened = values + (has_adaptor_ ? 4 : 3) * map;
  return saved;
}

size_t Block::scratch_bytes() const {
  const size_t widest = std::max({2 * hidden_, inputs_, channels_});
  const size_t values = chunk * (Level::terms * std::max(inputs_, channels_) + 2 * widest +
                                 4 * channels_ + 2 * hidden_ + inputs_) +
                        widest;
  const size_t floats = chunk * (3 * channels_ + inputs_ + 2 * pair);
  return values * sizeof(Value) + floats * sizeof(float) + chunk * taps * sizeof(void*) + 64 * 32;
}

void Block::forward(const float* input, const MapShape& shape, float* output, std::byte* memory,
                    size_t threads) const {
  static thread_local Arena maps;
  const size_t map = round_up(shape.pixels(), Level::row_block) * channels_;
  maps.restart(map * (sizeof(Value) + sizeof(float)) + saved_bytes(shape) + 256);
  Value* activated = maps.take<Value>(map);
  float* adapted = has_adaptor_ ? maps.take<float>(map) : nullptr;
  const Saved saved = saved_maps(memory ? memory : maps.take<std::byte>(saved_bytes(shape)), shape);
  for_each_chunk(shape, threads, [&](Range range, size_t, Arena& arena) {
    expand(input, range, adapted, saved, activated, arena);
  });
  const float* base = adapted ? adapted : input;
  const size_t stride = adapted ? channels_ : given_channels_;
  for_each_chunk(shape, threads, [&](Range range, size_t, Arena& arena) {
    mix(base, stride, activated, shape, range, saved, output, arena);
  });
}

// Everything before the depth-wise convolution.
void Block::expand(const float* input, Range range, float* adapted, const Saved& saved,
                   Value* activated, Arena& arena) const {
  const size_t rows = range.rows(), first = range.first;
  Value* values =
      has_adaptor_ ? saved.adapted + first * channels_ : arena.take<Value>(rows * channels_);
  if (has_adaptor_) {
    const size_t depth = Level::terms * inputs_;
    Value* factors = arena.take<Value>(rows * depth);
    Level::split_terms(input + first * given_, given_, given_, range.count, rows, factors, inputs_);
    Level::product(factors, depth, rows, adaptor_.data(), depth, 0, channels_,
                   [&](size_t row, size_t column, Vector one, Vector two) {
                     one += Level::load(&adaptor_bias_[column]);
                     two += Level::load(&adaptor_bias_[column + width]);
                     float* to = adapted + (first + row) * channels_ + column;
                     Level::store(to, one), Level::store(to + width, two);
                     Level::store_values(values + row * channels_ + column, one, two);
                   });
  } else {
    to_values(input + first * given_, given_, range.count, rows, values, channels_);
  }
  Level::product(values, channels_, rows, expand_.data(), channels_, 0, channels_,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   const size_t place = (first + row) * channels_ + column;
                   one += Level::load(&expand_bias_[column]);
                   two += Level::load(&expand_bias_[column + width]);
                   Level::store_values(saved.expanded + place, one, two);
                   Level::store_values(activated + place, one * Level::sigmoid(one),
                                       two * Level::sigmoid(two));
                 });
}

// The depth-wise convolution and everything after it.
void Block::mix(const float* adapted, size_t stride, const Value* activated, const MapShape& shape,
                Range range, const Saved& saved, float* output, Arena& arena) const {
  const size_t rows = range.rows(), first = range.first, c = channels_;
  const Value** neighbours = arena.take<const Value*>(rows * taps);
  const Value* zeros = arena.take_zeros<Value>(c);
  find_neighbours(activated, c, zeros, shape, first, range.count, rows, neighbours);
  Value* filtered = saved.filtered + first * c;
  for (size_t channel = 0; channel < c; channel += pair) {
    Vector weights[taps][2];
    for (size_t tap = 0; tap < taps; ++tap)
      for (size_t half = 0; half < 2; ++half)
        weights[tap][half] = Level::load(&depthwise_[tap * c + channel + half * width]);
    const Vector bias[2] = {Level::load(&depthwise_bias_[channel]),
                            Level::load(&depthwise_bias_[channel + width])};
    for (size_t row = 0; row < rows; ++row) {
      Vector one = bias[0], two = bias[1];
#pragma GCC unroll 9
      for (size_t tap = 0; tap < taps; ++tap) {
        const auto [left, right] = Level::split(neighbours[row * taps + tap] + channel);
        one += weights[tap][0] * left, two += weights[tap][1] * right;
      }
      Level::join(filtered + row * c + channel, one, two);
    }
  }

  float* spatial = arena.take<float>(rows * c);
  Value* spatial_values = saved.spatial + first * c;
  const auto base = [&](size_t row, size_t column) {
    if (row >= range.count) return Vector{};
    const size_t left = std::min(stride, column);
    return Level::load_part(adapted + (first + row) * stride + left, stride - left);
  };
  Level::product(filtered, c, rows, project_.data(), c, 0, c,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   one += Level::load(&project_bias_[column]) + base(row, column);
                   two += Level::load(&project_bias_[column + width]) + base(row, column + width);
                   float* to = spatial + row * c + column;
                   Level::store(to, one), Level::store(to + width, two);
                   Level::store_values(spatial_values + row * c + column, one, two);
                 });
  Value* mixed = arena.take<Value>(rows * hidden_);
  Level::product(spatial_values, c, rows, widen_.data(), c, 0, 2 * hidden_,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   one += Level::load(&widen_bias_[column]);
                   two += Level::load(&widen_bias_[column + width]);
                   if constexpr (Level::keeps_widened)
                     Level::store_values(saved.widened + (first + row) * 2 * hidden_ + column, one,
                                         two);
                   Level::store_value(mixed + row * hidden_ + column / 2,
                                      one * Level::sigmoid(one) + two * Level::sigmoid(two));
                 });
  const size_t given = given_channels_;
  Level::product(mixed, hidden_, rows, narrow_.data(), hidden_, 0, c,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   if (row >= range.count || column >= given) return;
                   const float* from = spatial + row * c + column;
                   one += Level::load(&narrow_bias_[column]) + Level::load(from);
                   two += Level::load(&narrow_bias_[column + width]) + Level::load(from + width);
                   if (shortcut_) one += base(row, column), two += base(row, column + width);
                   float* to = output + (first + row) * given + column;
                   Level::store_part(to, one, given - column);
                   if (column + width < given)
                     Level::store_part(to + width, two, given - column - width);
                 });
}

// All sizes are multiples of 64 bytes, so the sums lie side by side.
size_t Block::sums_size() const {
  const size_t adaptor = has_adaptor_ ? sum_rows_ * inputs_ + channels_ : 0;
  const size_t matrices = sum_rows_ * (2 * channels_ + 3 * hidden_);
  return adaptor + matrices + (taps + 4) * channels_ + 2 * hidden_;
}

// Matrices are written before they are added to; the rest is zero.
Block::Sums Block::take_sums(Arena& arena) const {
  Sums sums = {};
  sums.size = sums_size();
  sums.first = arena.take<float>(sums.size);
  float* next = sums.first;
  const auto take = [&](size_t count) { return std::exchange(next, next + count); };
  if (has_adaptor_) sums.adaptor = take(sum_rows_ * inputs_);
  sums.expand = take(sum_rows_ * channels_);
  sums.project = take(sum_rows_ * channels_);
  sums.widen = take(sum_rows_ * 2 * hidden_);
  sums.narrow = take(sum_rows_ * hidden_);
  std::fill(next, sums.first + sums.size, 0.0f);
  if (has_adaptor_) sums.adaptor_bias = take(channels_);
  sums.expand_bias = take(channels_);
  sums.depthwise = take(taps * channels_), sums.depthwise_bias = take(channels_);
  sums.project_bias = take(channels_);
  sums.widen_bias = take(2 * hidden_);
  sums.narrow_bias = take(channels_);
  return sums;
}

void Block::backward(const float* input, const MapShape& shape, const std::byte* memory,
                     const float* output_gradient, float* input_gradient,
                     const BlockTensors<float>& gradients, size_t threads) const {
  static thread_local Arena maps, sum_memory;
  const size_t map = round_up(shape.pixels(), Level::row_block) * channels_;
  maps.restart(map * (sizeof(Value) + sizeof(float)) + 256);
  Value* filtered_gradient = maps.take<Value>(map);
  float* adapted_gradient = has_adaptor_ ? maps.take<float>(map) : input_gradient;
  const size_t stride = has_adaptor_ ? channels_ : given_channels_;
  sum_memory.restart(threads * (sums_size() * sizeof(float) + 64));
  std::vector<Sums> sums;
  for (size_t part = 0; part < part_count(shape.pixels(), threads); ++part)
    sums.push_back(take_sums(sum_memory));
  const Saved saved = saved_maps(const_cast<std::byte*>(memory), shape);
  for_each_chunk(shape, threads, [&](Range range, size_t part, Arena& arena) {
    mix_backward(output_gradient, range, saved, adapted_gradient, stride, filtered_gradient,
                 sums[part], arena);
  });
  for_each_chunk(shape, threads, [&](Range range, size_t part, Arena& arena) {
    expand_backward(input, shape, range, saved, filtered_gradient, adapted_gradient, stride,
                    input_gradient, sums[part], arena);
  });
  write_gradients(sums, gradients);
}

// Adds a vector to sums over pixels.
inline void add_to(float* sums, Vector values) { Level::store(sums, Level::load(sums) + values); }

void Block::mix_backward(const float* output_gradient, Range range, const Saved& saved,
                         float* adapted_gradient, size_t stride, Value* filtered_gradient,
                         const Sums& sums, Arena& arena) const {
  const size_t rows = range.rows(), first = range.first, c = channels_, given = given_channels_;
  const Value *spatial = saved.spatial + first * c, *filtered = saved.filtered + first * c;
  const auto outer = [&](size_t row, size_t column) {
    if (row >= range.count) return Vector{};
    const size_t left = std::min(given, column);
    return Level::load_part(output_gradient + (first + row) * given + left, given - left);
  };
  Value* gradient = arena.take<Value>(rows * c);
  to_values(output_gradient + first * given, given, range.count, rows, gradient, c);
  for (size_t column = 0; column < c; column += width) {
    Vector sum = {};
    for (size_t row = 0; row < range.count; ++row) sum += outer(row, column);
    add_to(sums.narrow_bias + column, sum);
  }

  Value* mixed = arena.take<Value>(rows * hidden_);
  Value* widened_gradient = arena.take<Value>(rows * 2 * hidden_);
  float* widened = arena.take<float>(rows * 2 * pair);
  for (size_t start = 0; start < hidden_; start += pair) {  // two vectors of the hidden channels
    if constexpr (!Level::keeps_widened)
      Level::product(spatial, c, rows, widen_.data(), c, 2 * start, 2 * pair,
                     [&](size_t row, size_t column, Vector one, Vector two) {
                       one += Level::load(&widen_bias_[column]);
                       two += Level::load(&widen_bias_[column + width]);
                       float* to = widened + row * 2 * pair + column - 2 * start;
                       Level::store(to, one), Level::store(to + width, two);
                     });
    Vector bias[4] = {};
    Level::product(gradient, c, rows, narrow_back_.data(), c, start, pair,
                   [&](size_t row, size_t column, Vector one, Vector two) {
                     const Vector both[2] = {one, two};
#pragma GCC unroll 2
                     for (size_t half = 0; half < 2; ++half) {
                       const size_t place = 2 * (column + half * width);
                       Vector x[2];
                       if constexpr (Level::keeps_widened) {
                         const Value* from = saved.widened + (first + row) * 2 * hidden_ + place;
                         x[0] = Level::load_value(from), x[1] = Level::load_value(from + width);
                       } else {
                         const float* from = widened + row * 2 * pair + half * pair;
                         x[0] = Level::load(from), x[1] = Level::load(from + width);
                       }
                       const Vector s[2] = {Level::sigmoid(x[0]), Level::sigmoid(x[1])};
                       Level::store_value(mixed + row * hidden_ + column + half * width,
                                          x[0] * s[0] + x[1] * s[1]);
                       const Vector down[2] = {both[half] * silu_slope(x[0], s[0]),
                                               both[half] * silu_slope(x[1], s[1])};
                       bias[2 * half] += down[0], bias[2 * half + 1] += down[1];
                       Level::store_values(widened_gradient + row * 2 * hidden_ + place, down[0],
                                           down[1]);
                     }
                   });
    for (size_t part = 0; part < 4; ++part)
      add_to(sums.widen_bias + 2 * start + part * width, bias[part]);
  }
  Value* workspace = arena.take<Value>(rows * (2 * hidden_ + std::max(c, inputs_)));
  Level::weight_gradient(gradient, c, mixed, hidden_, rows, sums.narrow, range.begins, workspace);
  Level::weight_gradient(spatial, c, widened_gradient, 2 * hidden_, rows, sums.widen, range.begins,
                         workspace);

  Value* spatial_gradient = mixed;  // [rows, c], whose place it may take
  for (size_t start = 0; start < c; start += pair) {
    Vector bias[2] = {};
    Level::product(widened_gradient, 2 * hidden_, rows, widen_back_.data(), 2 * hidden_, start,
                   pair, [&](size_t row, size_t column, Vector one, Vector two) {
                     const Vector straight[2] = {outer(row, column), outer(row, column + width)};
                     one += straight[0], two += straight[1];
                     bias[0] += one, bias[1] += two;
                     Level::store_values(spatial_gradient + row * c + column, one, two);
                     if (row >= range.count || column >= stride) return;
                     if (shortcut_) one += straight[0], two += straight[1];
                     float* to = adapted_gradient + (first + row) * stride + column;
                     Level::store_part(to, one, stride - column);
                     if (column + width < stride)
                       Level::store_part(to + width, two, stride - column - width);
                   });
    add_to(sums.project_bias + start, bias[0]), add_to(sums.project_bias + start + width, bias[1]);
  }
  Level::weight_gradient(spatial_gradient, c, filtered, c, rows, sums.project, range.begins,
                         workspace);
  Level::product(spatial_gradient, c, rows, project_back_.data(), c, 0, c,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   Level::store_values(filtered_gradient + (first + row) * c + column, one, two);
                 });
}

void Block::expand_backward(const float* input, const MapShape& shape, Range range,
                            const Saved& saved, const Value* filtered_gradient,
                            float* adapted_gradient, size_t stride, float* input_gradient,
                            const Sums& sums, Arena& arena) const {
  const size_t rows = range.rows(), first = range.first, c = channels_;
  const Value** neighbours = arena.take<const Value*>(rows * taps);
  const Value* zeros = arena.take_zeros<Value>(c);
  find_neighbours(filtered_gradient, c, zeros, shape, first, range.count, rows, neighbours);
  Value* expanded_gradient = arena.take<Value>(rows * c);
  float* activated = arena.take<float>(rows * pair);
  for (size_t channel = 0; channel < c; channel += pair) {
    Vector weights[taps][2];  // as seen from a neighbour
    for (size_t tap = 0; tap < taps; ++tap)
      for (size_t half = 0; half < 2; ++half)
        weights[tap][half] =
            Level::load(&depthwise_[(taps - 1 - tap) * c + channel + half * width]);
    Vector bias[2] = {}, filtered_bias[2] = {};
    for (size_t row = 0; row < rows; ++row) {
      Vector one = {}, two = {};
#pragma GCC unroll 9
      for (size_t tap = 0; tap < taps; ++tap) {
        const auto [left, right] = Level::split(neighbours[row * taps + tap] + channel);
        if (tap == taps / 2) filtered_bias[0] += left, filtered_bias[1] += right;
        one += weights[tap][0] * left, two += weights[tap][1] * right;
      }
      const auto [x, z] = Level::split(saved.expanded + (first + row) * c + channel);
      const Vector s = Level::sigmoid(x), t = Level::sigmoid(z);
      Level::store(activated + row * pair, x * s);
      Level::store(activated + row * pair + width, z * t);
      one *= silu_slope(x, s), two *= silu_slope(z, t);
      bias[0] += one, bias[1] += two;
      Level::join(expanded_gradient + row * c + channel, one, two);
    }
    for (size_t half = 0; half < 2; ++half) {
      add_to(sums.expand_bias + channel + half * width, bias[half]);
      add_to(sums.depthwise_bias + channel + half * width, filtered_bias[half]);
    }
    Vector total[taps][2] = {};
    for (size_t row = 0; row < rows; ++row) {
      const Vector one = Level::load(activated + row * pair);
      const Vector two = Level::load(activated + row * pair + width);
#pragma GCC unroll 9
      for (size_t tap = 0; tap < taps; ++tap) {
        const auto [left, right] = Level::split(neighbours[row * taps + tap] + channel);
        total[tap][0] += one * left, total[tap][1] += two * right;
      }
    }
    for (size_t tap = 0; tap < taps; ++tap)
      for (size_t half = 0; half < 2; ++half)
        add_to(sums.depthwise + (taps - 1 - tap) * c + channel + half * width, total[tap][half]);
  }

  const Value* values = saved.adapted + first * c;
  if (!has_adaptor_) {
    Value* given = arena.take<Value>(rows * c);
    to_values(input + first * given_, given_, range.count, rows, given, c);
    values = given;
  }
  Value* workspace = arena.take<Value>(rows * (std::max(c, inputs_) + c));
  Level::weight_gradient(expanded_gradient, c, values, c, rows, sums.expand, range.begins,
                         workspace);
  Level::product(expanded_gradient, c, rows, expand_back_.data(), c, 0, c,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   if (row >= range.count || column >= stride) return;
                   float* to = adapted_gradient + (first + row) * stride + column;
                   const size_t left = stride - column;
                   Level::store_part(to, Level::load_part(to, left) + one, left);
                   if (left > width)
                     Level::store_part(to + width, Level::load_part(to + width, left - width) + two,
                                       left - width);
                 });
  if (!has_adaptor_) return;

  const float* gradient = adapted_gradient + first * c;
  for (size_t column = 0; column < c; column += width) {
    Vector sum = {};
    for (size_t row = 0; row < range.count; ++row) sum += Level::load(gradient + row * c + column);
    add_to(sums.adaptor_bias + column, sum);
  }
  Value* gradient_values = expanded_gradient;
  to_values(gradient, c, range.count, rows, gradient_values, c);
  Value* input_values = arena.take<Value>(rows * inputs_);
  to_values(input + first * given_, given_, range.count, rows, input_values, inputs_);
  Level::weight_gradient(gradient_values, c, input_values, inputs_, rows, sums.adaptor,
                         range.begins, workspace);
  const size_t depth = Level::terms * c;
  Value* factors = arena.take<Value>(rows * depth);
  Level::split_terms(gradient, c, c, range.count, rows, factors, c);
  Level::product(factors, depth, rows, adaptor_back_.data(), depth, 0, inputs_,
                 [&](size_t row, size_t column, Vector one, Vector two) {
                   if (row >= range.count || column >= given_) return;
                   float* to = input_gradient + (first + row) * given_ + column;
                   Level::store_part(to, one, given_ - column);
                   if (column + width < given_)
                     Level::store_part(to + width, two, given_ - column - width);
                 });
}

void Block::write_gradients(const std::vector<Sums>& parts, const BlockTensors<float>& out) const {
  const Sums& sums = parts.front();
  for (size_t part = 1; part < parts.size(); ++part)  // each part's sums lie in one piece
    for (size_t i = 0; i < sums.size; i += width)
      add_to(sums.first + i, Level::load(parts[part].first + i));
  const auto copy = [](const float* from, size_t stride, float* to, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; ++row)
      std::copy_n(from + row * stride, columns, to + row * columns);
  };
  const size_t c = given_channels_;
  if (has_adaptor_) {
    copy(sums.adaptor, inputs_, out.adaptor, c, given_);
    std::copy_n(sums.adaptor_bias, c, out.adaptor_bias);
  }
  copy(sums.expand, channels_, out.expand, c, c);
  copy(sums.project, channels_, out.project, c, c);
  copy(sums.narrow, hidden_, out.narrow, c, 2 * c);
  std::copy_n(sums.project_bias, c, out.project_bias);
  std::copy_n(sums.narrow_bias, c, out.narrow_bias);
  constexpr size_t block = 16;  // rows and columns that are turned while they are in the cache
  for (size_t start = 0; start < 2 * hidden_; start += block)
    for (size_t first = 0; first < c; first += block)
      for (size_t column = start; column < start + block; ++column)
        if (const size_t row = widened_channel(column, 2 * c); row != missing)
          for (size_t channel = first; channel < std::min(first + block, c); ++channel)
            out.widen[row * c + channel] = sums.widen[channel * 2 * hidden_ + column];
  for (size_t column = 0; column < 2 * hidden_; ++column)
    if (const size_t row = widened_channel(column, 2 * c); row != missing)
      out.widen_bias[row] = sums.widen_bias[column];
  for (size_t channel = 0; channel < c; ++channel) {
    const size_t place = Level::place(channel);
    out.expand_bias[channel] = sums.expand_bias[place];
    out.depthwise_bias[channel] = sums.depthwise_bias[place];
    for (size_t tap = 0; tap < taps; ++tap)
      out.depthwise[channel * taps + tap] = sums.depthwise[tap * channels_ + place];
  }
}

std::unique_ptr<FusedBlock> make_block(const BlockSizes& sizes,
                                       const BlockTensors<const float>& weights) {
  return std::make_unique<Block>(sizes, weights);
}
