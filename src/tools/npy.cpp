#include "tools/npy.h"

#include <charconv>
#include <optional>
#include <string>
#include <utility>

namespace switchyard {
namespace {

constexpr std::pair<std::string_view, ElementType> kTypes[] = {
    {"b1", ElementType::kBool},   {"i1", ElementType::kInt8},  {"i2", ElementType::kInt16},  {"i4", ElementType::kInt32},
    {"i8", ElementType::kInt64},  {"u1", ElementType::kUint8}, {"u2", ElementType::kUint16}, {"u4", ElementType::kUint32},
    {"u8", ElementType::kUint64}, {"f2", ElementType::kFp16},  {"f4", ElementType::kFp32},   {"f8", ElementType::kFp64},
};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// What stands behind 'key': in the header's dictionary, up to `end`. NumPy itself writes the header, so its form is fixed.
std::optional<std::string_view> ValueOf(std::string_view header, std::string_view key, char end) {
  const std::string quoted = "'" + std::string(key) + "':";
  const size_t at = header.find(quoted);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = header.substr(at + quoted.size());
  const size_t stop = rest.find(end);
  if (stop == std::string_view::npos) return std::nullopt;
  return Trim(rest.substr(0, stop));
}

StatusOr<ElementType> ParseType(std::string_view descr) {
  if (descr.size() >= 2 && descr.front() == '\'' && descr.back() == '\'') descr = descr.substr(1, descr.size() - 2);
  if (descr.starts_with('>')) return InvalidArgument("the .npy file is big endian ({}); save it as little endian", descr);
  const std::string_view name = descr.substr(descr.empty() ? 0 : 1);
  for (const auto& [numpy, type] : kTypes) {
    if (name == numpy) return type;
  }
  return InvalidArgument("the .npy file has dtype {}; expected a number or boolean type", descr);
}

StatusOr<Shape> ParseNpyShape(std::string_view text) {
  Shape shape;
  if (!text.starts_with('(')) return InvalidArgument("the .npy file's header has no shape");
  text.remove_prefix(1);
  while (!(text = Trim(text)).empty()) {
    const size_t comma = text.find(',');
    const std::string_view digits = Trim(text.substr(0, comma));
    int64_t dim = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), dim);
    if (error != std::errc() || end != digits.data() + digits.size() || dim < 0) {
      return InvalidArgument("the .npy file's shape has '{}' where a dimension is expected", digits);
    }
    shape.push_back(dim);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return shape;
}

}  // namespace

StatusOr<ClientTensor> ParseNpy(std::string_view file) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (!file.starts_with(kMagic) || file.size() < 12)
    return InvalidArgument("not a .npy file: it does not begin with \\x93NUMPY");
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(file[i])); };
  const size_t version = byte(6);
  if (version < 1 || version > 3) return InvalidArgument(".npy version {} is not known; expected 1, 2 or 3", version);
  const size_t start = version == 1 ? 10 : 12;
  const size_t length = byte(8) | byte(9) << 8 | (version == 1 ? 0 : byte(10) << 16 | byte(11) << 24);
  if (length > file.size() - start) return InvalidArgument("the .npy file's header is cut off");
  const std::string_view header = file.substr(start, length);

  const auto descr = ValueOf(header, "descr", ',');
  const auto order = ValueOf(header, "fortran_order", ',');
  const auto dims = ValueOf(header, "shape", ')');
  if (!descr || !order || !dims) return InvalidArgument("the .npy file's header lacks descr, fortran_order or shape");
  ClientTensor tensor;
  SY_ASSIGN_OR_RETURN(tensor.type, ParseType(*descr));
  SY_ASSIGN_OR_RETURN(tensor.shape, ParseNpyShape(*dims));
  if (*order != "False" && tensor.shape.size() > 1) {
    return InvalidArgument("the .npy file is in Fortran order; save numpy.ascontiguousarray(array)");
  }
  tensor.data = file.substr(start + length);
  tensor.name = "in the .npy file";
  SY_RETURN_IF_ERROR(CheckCount(tensor));
  return tensor;
}

StatusOr<ClientTensor> ConvertTo(ElementType type, ClientTensor tensor) {
  if (type == tensor.type) return tensor;
  ClientTensor converted{tensor.name, type, tensor.shape, {}, {}};
  const size_t count = tensor.count();
  for (size_t i = 0; i < count; ++i) SY_RETURN_IF_ERROR(AppendNumber(type, NumberAt(tensor, i), &converted.data));
  return converted;
}

}  // namespace switchyard
