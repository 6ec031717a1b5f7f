// The Python module neuvid._rans; src/neuvid/_rans.pyi describes it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <vector>

#include "rans.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using neuvid::Fault;
using neuvid::SymbolDecoder;
using neuvid::SymbolEncoder;
using neuvid::Tables;

template <class Value>
using Array = nb::ndarray<const Value, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Symbols = nb::ndarray<nb::numpy, std::int16_t, nb::ndim<1>>;

template <class Value>
std::span<const Value> view(const Array<Value>& array) {
  return {array.data(), array.size()};
}

std::span<const std::uint8_t> view(const nb::bytes& bytes) {
  return {static_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

void check_sizes(const Array<std::int16_t>& symbols, const Array<std::uint16_t>& indexes) {
  if (symbols.size() != indexes.size())
    throw std::invalid_argument("symbols and indexes must have the same length");
}

void construct_tables(Tables* self, Array<std::uint16_t> cumulative, Array<std::uint32_t> starts,
                      Array<std::int16_t> offsets) {
  nb::gil_scoped_release unlocked;
  new (self) Tables(view(cumulative), view(starts), view(offsets));
}

double bits(const Tables& self, Array<std::int16_t> symbols, Array<std::uint16_t> indexes) {
  check_sizes(symbols, indexes);
  nb::gil_scoped_release unlocked;
  return self.bits(view(symbols), view(indexes));
}

void append(SymbolEncoder& self, Array<std::int16_t> symbols, Array<std::uint16_t> indexes) {
  check_sizes(symbols, indexes);
  nb::gil_scoped_release unlocked;
  self.append(view(symbols), view(indexes));
}

nb::bytes finish(SymbolEncoder& self, std::size_t streams) {
  std::vector<std::uint8_t> payload;
  {
    nb::gil_scoped_release unlocked;
    payload = self.finish(streams);
  }
  return nb::bytes(payload.data(), payload.size());
}

Symbols decode(SymbolDecoder& self, Array<std::uint16_t> indexes) {
  const std::size_t size = indexes.size();
  std::unique_ptr<std::int16_t[]> symbols(new std::int16_t[size]);
  {
    nb::gil_scoped_release unlocked;
    self.decode(view(indexes), {symbols.get(), size});
  }
  nb::capsule owner(symbols.get(),
                    [](void* data) noexcept { delete[] static_cast<std::int16_t*>(data); });
  return Symbols(symbols.release(), {size}, owner);
}

void raise_stream_error(const std::exception_ptr& exception, void*) {
  try {
    std::rethrow_exception(exception);
  } catch (const neuvid::StreamError& error) {
    const char* name = error.fault == Fault::truncated ? "Truncated"
                       : error.fault == Fault::corrupt ? "CorruptStream"
                                                       : "Desynchronised";
    PyErr_SetString(nb::module_::import_("neuvid.errors").attr(name).ptr(), error.what());
  }
}

}  // namespace

NB_MODULE(_rans, module) {
  nb::set_leak_warnings(false);  // an interrupt leaves objects in its traceback
  nb::register_exception_translator(raise_stream_error);

  nb::class_<Tables>(module, "Tables")
      .def("__init__", construct_tables, "cumulative"_a.noconvert(), "starts"_a.noconvert(),
           "offsets"_a.noconvert())
      .def("bits", bits, "symbols"_a.noconvert(), "indexes"_a.noconvert());

  nb::class_<SymbolEncoder>(module, "SymbolEncoder")
      .def(nb::init<const Tables&>(), "tables"_a, nb::keep_alive<1, 2>())
      .def("append", append, "symbols"_a.noconvert(), "indexes"_a.noconvert())
      .def("finish", finish, "streams"_a);

  nb::class_<SymbolDecoder>(module, "SymbolDecoder")
      .def(
          "__init__",
          [](SymbolDecoder* self, const Tables& tables, nb::bytes data, bool compact) {
            new (self) SymbolDecoder(tables, view(data), compact);
          },
          "tables"_a, "data"_a, "compact"_a, nb::keep_alive<1, 2>())
      .def("decode", decode, "indexes"_a.noconvert())
      .def("finish", &SymbolDecoder::finish);
}
