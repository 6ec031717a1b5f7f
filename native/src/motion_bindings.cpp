// The Python module neuvid._motion; src/neuvid/_motion.pyi describes it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>

#include "motion.h"
#include "pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class Value, size_t dimensions>
using Array = nb::ndarray<const Value, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;

template <class Value>
using Result = nb::ndarray<nb::numpy, Value>;

template <class Value>
Result<Value> zeros(std::initializer_list<std::size_t> shape) {
  std::size_t count = 1;
  for (std::size_t side : shape) count *= side;
  std::unique_ptr<Value[]> values(new Value[count]());
  nb::capsule owner(values.get(), [](void* data) noexcept { delete[] static_cast<Value*>(data); });
  return Result<Value>(values.release(), shape, owner);
}

neuvid::Extent checked_extent(std::size_t height, std::size_t width) {
  if (height == 0 || width == 0 || height % 16 || width % 16)
    throw std::invalid_argument("height and width must be multiples of 16");
  return {height, width};
}

struct Pictures {
  std::size_t count, channels;
  neuvid::Extent extent;
  std::size_t samples() const { return channels * extent.pixels(); }
  std::size_t vectors() const { return 2 * extent.blocks(); }
};

Pictures checked_pictures(const Array<float, 4>& reference, const Array<float, 4>& vectors) {
  const Pictures pictures = {reference.shape(0), reference.shape(1),
                             checked_extent(reference.shape(2), reference.shape(3))};
  if (vectors.shape(0) != pictures.count || vectors.shape(1) != 2 ||
      vectors.shape(2) != pictures.extent.block_rows() ||
      vectors.shape(3) != pictures.extent.block_columns())
    throw std::invalid_argument("vectors must be [batch, 2, height / 8, width / 8]");
  return pictures;
}

Result<std::int16_t> search(Array<std::uint8_t, 3> current, Array<std::uint8_t, 3> reference,
                            Array<std::int16_t, 4> last, Array<float, 1> bit_costs,
                            std::size_t threads) {
  const std::size_t count = current.shape(0);
  const neuvid::Extent extent = checked_extent(current.shape(1), current.shape(2));
  for (std::size_t side = 0; side < 3; side++)
    if (reference.shape(side) != current.shape(side))
      throw std::invalid_argument("current and reference must have the same shape");
  if (last.shape(0) != count || last.shape(1) != 2 || last.shape(2) != extent.block_rows() ||
      last.shape(3) != extent.block_columns() || bit_costs.size() != count)
    throw std::invalid_argument(
        "last must be [batch, 2, height / 8, width / 8], and costs [batch]");
  auto vectors = zeros<std::int16_t>({count, 2, extent.block_rows(), extent.block_columns()});
  nb::gil_scoped_release unlocked;
  neuvid::run_parts(threads, count, [&](std::size_t i) {
    const std::size_t first = i * extent.pixels(), first_vector = i * 2 * extent.blocks();
    neuvid::search_motion(current.data() + first, reference.data() + first, extent,
                          last.data() + first_vector, bit_costs.data()[i],
                          vectors.data() + first_vector);
  });
  return vectors;
}

Result<float> predict(Array<float, 4> reference, Array<float, 4> vectors, std::size_t threads) {
  const Pictures pictures = checked_pictures(reference, vectors);
  auto prediction = zeros<float>(
      {pictures.count, pictures.channels, pictures.extent.height, pictures.extent.width});
  nb::gil_scoped_release unlocked;
  const std::size_t rows = pictures.extent.block_rows() + 1;
  neuvid::run_parts(threads, pictures.count * rows, [&](std::size_t part) {
    const std::size_t i = part / rows, first = i * pictures.samples();
    neuvid::predict_cells(reference.data() + first, pictures.channels, pictures.extent,
                          vectors.data() + i * pictures.vectors(), part % rows,
                          prediction.data() + first);
  });
  return prediction;
}

Result<float> predict_gradient(Array<float, 4> gradient, Array<float, 4> vectors,
                               std::size_t threads) {
  const Pictures pictures = checked_pictures(gradient, vectors);
  auto of_reference = zeros<float>(
      {pictures.count, pictures.channels, pictures.extent.height, pictures.extent.width});
  nb::gil_scoped_release unlocked;
  neuvid::run_parts(threads, pictures.count, [&](std::size_t i) {
    const std::size_t first = i * pictures.samples();
    neuvid::predict_picture_gradient(pictures.channels, pictures.extent,
                                     vectors.data() + i * pictures.vectors(),
                                     gradient.data() + first, of_reference.data() + first);
  });
  return of_reference;
}

}  // namespace

NB_MODULE(_motion, module) {
  nb::set_leak_warnings(false);  // an interrupt leaves objects in its traceback
  module.def("search", search, "current"_a.noconvert(), "reference"_a.noconvert(),
             "last"_a.noconvert(), "bit_costs"_a.noconvert(), "threads"_a);
  module.def("predict", predict, "reference"_a.noconvert(), "vectors"_a.noconvert(), "threads"_a);
  module.def("predict_gradient", predict_gradient, "gradient"_a.noconvert(),
             "vectors"_a.noconvert(), "threads"_a);
}
