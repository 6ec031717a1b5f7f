// The Python module neuvid._fused; src/neuvid/_fused.pyi describes it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>

#include "clones.h"
#include "fused.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using neuvid::BlockSizes;
using neuvid::BlockTensors;
using neuvid::ConvolutionSizes;
using neuvid::FusedBlock;
using neuvid::FusedConvolution;
using neuvid::MapShape;

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Map = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using NewMap = nb::ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using NewRows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AskedRows = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Gradients = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool holds, const char* law) {
  if (!holds) throw std::invalid_argument(law);
}

class Block {
 public:
  // `weights` in the order of BlockTensors, ten or, with an adaptor, twelve.
  Block(const std::vector<Floats>& weights, bool shortcut, const std::string& level) {
    require(weights.size() == 10 || weights.size() == 12, "a block has 10 or 12 weights");
    has_adaptor_ = weights.size() == 12;
    const std::size_t first = has_adaptor_ ? 2 : 0;
    sizes_.channels = weights[first].shape(0);
    sizes_.inputs = weights[0].ndim() > 1 ? weights[0].shape(1) : 0;
    sizes_.shortcut = shortcut;
    const std::size_t c = sizes_.channels;
    std::vector<std::size_t> expected = {c * c, c,         9 * c, c,         c * c,
                                         c,     4 * c * c, 4 * c, 2 * c * c, c};
    if (has_adaptor_) expected.insert(expected.begin(), {c * sizes_.inputs, c});
    require(c > 0 && sizes_.inputs > 0, "a block has channels");
    std::vector<const float*> data;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      require(weights[i].size() == expected[i], "the weights of the block must belong together");
      data.push_back(weights[i].data());
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + expected[i]);
    }
    if (!has_adaptor_) data.insert(data.begin(), {nullptr, nullptr});
    block_ = neuvid::fused_kernels(level).make_block(sizes_, tensors(data));
  }

  std::size_t saved_bytes(std::size_t batch, std::size_t height, std::size_t width) const {
    return block_->saved_bytes({batch, height, width});
  }

  void forward(Map input, NewMap output, const std::optional<Bytes>& saved,
               std::size_t threads) const {
    const MapShape shape = checked(input, sizes_.inputs);
    require(checked(output, sizes_.channels).pixels() == shape.pixels(), "maps of other sizes");
    require(!saved || saved->size() >= block_->saved_bytes(shape), "too little room to save");
    nb::gil_scoped_release unlocked;
    block_->forward(input.data(), shape, output.data(),
                    saved ? reinterpret_cast<std::byte*>(saved->data()) : nullptr, threads);
  }

  void backward(Map input, Bytes saved, Map output_gradient, NewMap input_gradient,
                Gradients gradients, std::size_t threads) const {
    const MapShape shape = checked(input, sizes_.inputs);
    require(checked(output_gradient, sizes_.channels).pixels() == shape.pixels() &&
                checked(input_gradient, sizes_.inputs).pixels() == shape.pixels(),
            "maps of other sizes");
    require(saved.size() >= block_->saved_bytes(shape), "saved by another block");
    require(gradients.size() == ends_.back(), "as many gradients as weights");
    std::vector<float*> data = {gradients.data()};
    for (std::size_t i = 0; i + 1 < ends_.size(); ++i) data.push_back(gradients.data() + ends_[i]);
    if (!has_adaptor_) data.insert(data.begin(), {nullptr, nullptr});
    nb::gil_scoped_release unlocked;
    block_->backward(input.data(), shape, reinterpret_cast<std::byte*>(saved.data()),
                     output_gradient.data(), input_gradient.data(), tensors(data), threads);
  }

 private:
  template <class Float>
  static BlockTensors<Float> tensors(const std::vector<Float*>& data) {
    return {data[0], data[1], data[2], data[3], data[4],  data[5],
            data[6], data[7], data[8], data[9], data[10], data[11]};
  }
  template <class Array>
  static MapShape checked(const Array& map, std::size_t channels) {
    require(map.shape(3) == channels, "a map of other channels");
    require(map.size() > 0, "an empty map");
    return {map.shape(0), map.shape(1), map.shape(2)};
  }

  BlockSizes sizes_;
  bool has_adaptor_;
  std::vector<std::size_t> ends_;  // of each weight's gradient
  std::unique_ptr<FusedBlock> block_;
};

class Convolution {
 public:
  // `weights` are [outputs, kernel, kernel, inputs].
  Convolution(Map weights, Floats bias, std::size_t stride, std::size_t padding,
              const std::string& level)
      : sizes_{weights.shape(3), weights.shape(0), weights.shape(1), stride, padding} {
    require(weights.size() > 0 && stride > 0 && weights.shape(1) == weights.shape(2) &&
                bias.size() == sizes_.outputs,
            "the weights of the convolution must belong together");
    const neuvid::FusedKernels& kernels = neuvid::fused_kernels(level);
    convolution_ = kernels.make_convolution(sizes_, weights.data(), bias.data());
  }

  std::tuple<std::size_t, std::size_t> output_size(std::size_t height, std::size_t width) const {
    const MapShape shape = convolution_->output_shape({1, height, width});
    return {shape.height, shape.width};
  }

  void forward(Map input, NewMap output, std::size_t threads) const {
    const MapShape shape = checked(input, output);
    nb::gil_scoped_release unlocked;
    convolution_->forward(input.data(), shape, output.data(), threads);
  }

  void backward(Map input, Map output_gradient, NewMap input_gradient, Gradients gradients,
                std::size_t threads) const {
    const MapShape shape = checked(input, output_gradient);
    const std::size_t bias = gradients.size() - sizes_.outputs;
    require(input_gradient.size() == input.size(), "maps of other sizes");
    const std::size_t inputs = sizes_.kernel * sizes_.kernel * sizes_.inputs;
    require(gradients.size() == sizes_.outputs * (inputs + 1), "as many gradients as weights");
    nb::gil_scoped_release unlocked;
    convolution_->backward(input.data(), shape, output_gradient.data(), input_gradient.data(),
                           gradients.data(), gradients.data() + bias, threads);
  }

 private:
  template <class Output>
  MapShape checked(const Map& input, const Output& output) const {
    require(input.shape(3) == sizes_.inputs && input.size() > 0, "a map of other channels");
    const MapShape shape = {input.shape(0), input.shape(1), input.shape(2)};
    const std::size_t side = shape.height < shape.width ? shape.height : shape.width;
    require(side + 2 * sizes_.padding >= sizes_.kernel, "a map smaller than the kernel");
    require(output.size() == convolution_->output_shape(shape).pixels() * sizes_.outputs,
            "maps of other sizes");
    return shape;
  }

  ConvolutionSizes sizes_;
  std::unique_ptr<FusedConvolution> convolution_;
};

// `bounds` are threshold, error_per_bit, probability_min and symbol_max of LaplaceInput; maps are
// [samples, count].
void code_laplace(const std::string& level, Rows values, Rows scales, Rows noise, NewRows coded,
                  NewRows value_slopes, NewRows scale_slopes, Gradients bits,
                  std::tuple<float, float, float, float> bounds) {
  const std::size_t samples = values.shape(0), size = values.size();
  require(scales.size() == size && noise.size() == size && coded.size() == size &&
              value_slopes.size() == size && scale_slopes.size() == size && bits.size() == samples,
          "all rows must have one shape");
  const auto [threshold, error_per_bit, probability_min, symbol_max] = bounds;
  const neuvid::FusedKernels& kernels = neuvid::fused_kernels(level);
  nb::gil_scoped_release unlocked;
  kernels.code_laplace({values.data(), scales.data(), noise.data(), samples, values.shape(1),
                        threshold, error_per_bit, probability_min, symbol_max},
                       {coded.data(), bits.data(), value_slopes.data(), scale_slopes.data()});
}

// Flags [samples, count], asked for where `asked` is not 0; logits count up to `most`.
void code_flags(Rows flags, Rows logits, AskedRows asked, float most, Gradients bits,
                NewRows slopes) {
  const std::size_t samples = flags.shape(0), count = flags.shape(1);
  require(logits.size() == flags.size() && asked.size() == flags.size() &&
              slopes.size() == flags.size() && bits.size() == samples,
          "all rows must have one shape");
  constexpr float ln_2 = 0.69314718f;
  for (std::size_t i = 0, sample = 0; sample < samples; ++sample) {
    float sum = 0;
    for (std::size_t end = i + count; i < end; ++i) {
      slopes.data()[i] = 0;
      if (!asked.data()[i]) continue;
      const float given = logits.data()[i], logit = std::min(std::max(given, -most), most);
      const float flag = flags.data()[i], tail = std::exp(-std::fabs(logit));
      sum += std::max(logit, 0.0f) + std::log1p(tail) - flag * logit;
      const float probability = (logit < 0 ? tail : 1.0f) / (1.0f + tail);
      if (given == logit) slopes.data()[i] = (probability - flag) / ln_2;
    }
    bits.data()[sample] = sum / ln_2;
  }
}

// Adam's averages of gradients that are divided by `scale`, both of which began at zero and have
// grown to `growth`; what it changes by takes the place of the gradients.
NEUVID_CLONES
void adam_change(Gradients gradients, Gradients momentum, Gradients squares, float beta,
                 float epsilon, float growth, float scale) {
  const std::size_t count = gradients.size();
  require(momentum.size() == count && squares.size() == count, "all must have one size");
  float *gradient = gradients.data(), *mean = momentum.data(), *square = squares.data();
  const float root = std::sqrt(growth), least = growth * epsilon;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = gradient[i] / scale;
    mean[i] += (1 - beta) * (value - mean[i]);
    square[i] += (1 - beta) * (value * value - square[i]);
    gradient[i] = mean[i] / (root * std::sqrt(square[i]) + least);
  }
}

}  // namespace

NB_MODULE(_fused, module) {
  nb::set_leak_warnings(false);  // an interrupt leaves objects in its traceback
  module.def("levels", neuvid::fused_levels);
  nb::class_<Block>(module, "Block")
      .def(nb::init<const std::vector<Floats>&, bool, const std::string&>(), "weights"_a,
           "shortcut"_a, "level"_a)
      .def("saved_bytes", &Block::saved_bytes, "batch"_a, "height"_a, "width"_a)
      .def("forward", &Block::forward, "input"_a.noconvert(), "output"_a.noconvert(),
           "saved"_a.noconvert().none(), "threads"_a)
      .def("backward", &Block::backward, "input"_a.noconvert(), "saved"_a.noconvert(),
           "output_gradient"_a.noconvert(), "input_gradient"_a.noconvert(),
           "gradients"_a.noconvert(), "threads"_a);
  nb::class_<Convolution>(module, "Convolution")
      .def(nb::init<Map, Floats, std::size_t, std::size_t, const std::string&>(), "weights"_a,
           "bias"_a, "stride"_a, "padding"_a, "level"_a)
      .def("output_size", &Convolution::output_size, "height"_a, "width"_a)
      .def("forward", &Convolution::forward, "input"_a.noconvert(), "output"_a.noconvert(),
           "threads"_a)
      .def("backward", &Convolution::backward, "input"_a.noconvert(),
           "output_gradient"_a.noconvert(), "input_gradient"_a.noconvert(),
           "gradients"_a.noconvert(), "threads"_a);
  module.def("code_laplace", code_laplace, "level"_a, "values"_a.noconvert(),
             "scales"_a.noconvert(), "noise"_a.noconvert(), "coded"_a.noconvert(),
             "value_slopes"_a.noconvert(), "scale_slopes"_a.noconvert(), "bits"_a.noconvert(),
             "bounds"_a);
  module.def("adam_change", adam_change, "gradients"_a.noconvert(), "momentum"_a.noconvert(),
             "squares"_a.noconvert(), "beta"_a, "epsilon"_a, "growth"_a, "scale"_a);
  module.def("code_flags", code_flags, "flags"_a.noconvert(), "logits"_a.noconvert(),
             "asked"_a.noconvert(), "most"_a, "bits"_a.noconvert(), "slopes"_a.noconvert());
}
