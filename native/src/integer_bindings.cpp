// The Python module neuvid._integer; src/neuvid/_integer.pyi describes it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "integer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using neuvid::Block;
using neuvid::Convolution;
using neuvid::Matrix;
using neuvid::Shape;

template <class Value, size_t dimensions>
using Array = nb::ndarray<const Value, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
using Picture = nb::ndarray<nb::numpy, float, nb::ndim<4>>;

template <class Array>
auto view(const Array& array) {
  return std::span(array.data(), array.size());
}

void construct_matrix(Matrix* self, Array<std::int16_t, 2> weights, Array<float, 1> steps,
                      Array<float, 1> bias) {
  if (weights.shape(0) != steps.size())
    throw std::invalid_argument("weights and steps must have the same number of outputs");
  new (self) Matrix(view(weights), view(steps), view(bias));
}

void construct_convolution(Convolution* self, const Matrix& matrix, std::size_t kernel,
                           std::size_t stride, std::size_t padding, const std::string& level) {
  new (self) Convolution(matrix, {kernel, stride, padding}, level);
}

void construct_block(Block* self, const Matrix* adaptor, const Matrix& expand,
                     Array<float, 2> depthwise, Array<float, 1> depthwise_bias,
                     const Matrix& project, const Matrix& widen, const Matrix& narrow,
                     bool shortcut, const std::string& level) {
  new (self) Block(
      {adaptor, expand, view(depthwise), view(depthwise_bias), project, widen, narrow, shortcut},
      level);
}

template <class Layer>
Picture apply(const Layer& self, Array<float, 4> input, std::size_t threads) {
  const Shape shape = {input.shape(0), input.shape(1), input.shape(2), input.shape(3)};
  const Shape output = self.output_shape(shape);
  std::unique_ptr<float[]> values(new float[output.pixels() * output.channels]);
  {
    nb::gil_scoped_release unlocked;
    self.apply(input.data(), shape, values.get(), threads);
  }
  nb::capsule owner(values.get(), [](void* data) noexcept { delete[] static_cast<float*>(data); });
  return Picture(values.release(), {output.batch, output.height, output.width, output.channels},
                 owner);
}

}  // namespace

NB_MODULE(_integer, module) {
  nb::set_leak_warnings(false);  // an interrupt leaves objects in its traceback
  module.def("levels", neuvid::available_levels);

  nb::class_<Matrix>(module, "Matrix")
      .def("__init__", construct_matrix, "weights"_a.noconvert(), "steps"_a.noconvert(),
           "bias"_a.noconvert());

  nb::class_<Convolution>(module, "Convolution")
      .def("__init__", construct_convolution, "matrix"_a, "kernel"_a, "stride"_a, "padding"_a,
           "level"_a)
      .def("apply", apply<Convolution>, "input"_a.noconvert(), "threads"_a);

  nb::class_<Block>(module, "Block")
      .def("__init__", construct_block, "adaptor"_a.none(), "expand"_a, "depthwise"_a.noconvert(),
           "depthwise_bias"_a.noconvert(), "project"_a, "widen"_a, "narrow"_a, "shortcut"_a,
           "level"_a)
      .def("apply", apply<Block>, "input"_a.noconvert(), "threads"_a);
}
