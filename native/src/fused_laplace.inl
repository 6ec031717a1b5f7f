// What coding under Laplace laws costs, for one kind of processor; after fused.inl.

typedef std::int32_t Integers __attribute__((vector_size(sizeof(Vector))));
static_assert(sizeof(Vector) == width * sizeof(float));

inline Vector nearest_whole(Vector x) {  // of at most 2^22
  constexpr float shift = 12582912.0f;
  return (x + shift) - shift;
}

// 2^x, good to 22 bits.
inline Vector power_of_two(Vector x) {
  x = x < -126.0f ? Vector{} - 126.0f : x;
  const Vector whole = nearest_whole(x), f = x - whole;
  Vector power = f * 0.00015403530f + 0.0013333558f;
  power = power * f + 0.0096181291f;
  power = power * f + 0.0555041087f;
  power = power * f + 0.2402265069f;
  power = power * f + 0.6931471806f;
  power = power * f + 1.0f;
  return Vector(Integers(power) + (__builtin_convertvector(whole, Integers) << 23));
}

// The logarithm to base 2 of normal numbers.
inline Vector logarithm(Vector x) {
  constexpr std::int32_t root = 0x3F3504F3;  // the bits of 1 / sqrt(2)
  const Integers bits = Integers(x) - root;
  const Vector m = Vector((bits & 0x7FFFFF) + root);  // 1 / sqrt(2) to sqrt(2)
  const Vector r = (m - 1.0f) / (m + 1.0f), square = r * r;
  Vector sum = square * 0.41219858f + 0.57707802f;  // 2 artanh(r) / (r ln 2)
  sum = sum * square + 0.96179669f;
  sum = sum * square + 2.88539008f;
  return __builtin_convertvector(bits >> 23, Vector) + r * sum;
}

struct LaplaceCost {
  Vector bits, value_slope, scale_slope;
};

// The cost of the unit interval around a value, and its slopes.
inline LaplaceCost laplace_cost(Vector value, Vector inverse_scale, float least) {
  constexpr float log2_e = 1.44269504f, ln_2 = 0.69314718f;
  const Vector distance = value < 0.0f ? -value : value;
  const auto is_beyond = distance >= 0.5f;  // the median lies outside the interval
  const Vector near = (is_beyond ? distance - 0.5f : 0.5f - distance) * inverse_scale;
  const Vector far = (distance + 0.5f) * inverse_scale;
  const Vector near_tail = 0.5f * power_of_two(near * -log2_e);
  const Vector far_tail = 0.5f * power_of_two(far * -log2_e);
  const Vector mass = (is_beyond ? near_tail : 1.0f - near_tail) - far_tail + least;
  const Vector slope = -1.0f / (mass * ln_2);  // of the bits by the mass
  const Vector by_distance = (far_tail - near_tail) * inverse_scale;
  const Vector towards = near * near_tail;
  const Vector by_scale = ((is_beyond ? towards : -towards) - far * far_tail) * -inverse_scale;
  return {-logarithm(mass), slope * (value < 0.0f ? -by_distance : by_distance), slope * -by_scale};
}

void code_laplace(const LaplaceInput& input, const LaplaceOutput& output) {
  const auto code = [&](size_t i, size_t left) {
    const Vector value = Level::load_part(input.values + i, left);
    const Vector scale = Level::load_part(input.scales + i, left);
    const Vector inverse = 1.0f / scale;
    const float most = input.symbol_max;
    const Vector bounded = value > most ? Vector{} + most : value < -most ? Vector{} - most : value;
    const Vector nearest = nearest_whole(bounded);
    const Vector none = {};
    const Vector smaller = nearest - (nearest > 0.0f   ? none + 1.0f
                                      : nearest < 0.0f ? none - 1.0f
                                                       : none);
    const LaplaceCost at_nearest = laplace_cost(nearest, inverse, input.probability_min);
    const LaplaceCost at_smaller = laplace_cost(smaller, inverse, input.probability_min);
    const Vector saved =
        (value - smaller) * (value - smaller) - (value - nearest) * (value - nearest);
    const auto keeps = saved > input.error_per_bit * (at_nearest.bits - at_smaller.bits);
    const Vector noise = Level::load_part(input.noise + i, left);
    const LaplaceCost noisy = laplace_cost(value + noise, inverse, input.probability_min);
    const Vector whole = keeps ? nearest : smaller;
    Level::store_part(output.coded + i, scale > input.threshold ? whole : none, left);
    Level::store_part(output.value_slopes + i, noisy.value_slope, left);
    Level::store_part(output.scale_slopes + i,
                      keeps ? at_nearest.scale_slope : at_smaller.scale_slope, left);
    return keeps ? at_nearest.bits : at_smaller.bits;
  };
  for (size_t sample = 0; sample < input.samples; ++sample) {
    const size_t first = sample * input.count, end = first + input.count;
    Vector bits = {};
    size_t i = first;
    for (; i + width <= end; i += width) bits += code(i, width);
    float lanes[width] = {}, last[width] = {}, sum = 0;
    Level::store(lanes, bits);
    if (i < end) Level::store(last, code(i, end - i));
    for (size_t lane = 0; lane < width; ++lane)
      sum += lanes[lane] + (i + lane < end ? last[lane] : 0.0f);
    output.bits[sample] = sum;
  }
}
