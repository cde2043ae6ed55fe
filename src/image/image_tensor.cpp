#include "image/image_tensor.h"

#include <absl/strings/escaping.h>

#include <algorithm>
#include <utility>

#include "image/resize.h"

namespace switchyard {
namespace {

constexpr size_t kHeight = 1;
constexpr size_t kWidth = 2;
constexpr size_t kChannels = 3;

// Whether `layout` may be N, H, W, C: "" and OVMS's "N..." say nothing against it.
bool MayBeNhwc(std::string_view layout) {
  constexpr std::string_view kWanted = "NHWC";
  const auto fits = [](char have, char want) { return have == '?' || have == want; };
  const size_t dots = layout.find("...");
  const std::string_view head = layout.substr(0, std::min(dots, layout.size()));
  const std::string_view tail = dots == std::string_view::npos ? std::string_view() : layout.substr(dots + 3);
  if (layout.empty()) return true;
  if (head.size() + tail.size() > kWanted.size()) return false;
  if (dots == std::string_view::npos && head.size() != kWanted.size()) return false;
  return std::equal(head.begin(), head.end(), kWanted.begin(), fits) &&
         std::equal(tail.begin(), tail.end(), kWanted.end() - static_cast<std::ptrdiff_t>(tail.size()), fits);
}

bool IsOpen(const Dimension& dim) { return dim.max == Dimension::kUnbounded; }

// "3", "-1", "224:1024".
std::string Text(const Dimension& dim) {
  const std::string shape = PartialShape{{dim}}.ToString();
  return shape.substr(1, shape.size() - 2);
}

// A JSON string cannot carry bytes: base64 of a JPEG's or PNG's first bytes.
bool LooksLikeBase64(std::string_view text) { return text.starts_with("/9j/") || text.starts_with("iVBORw0KGgo"); }

// Why `encoded`, which is no picture's base64, is no picture. Text is looked into: that is how bytes come to KServe's JSON.
Status NoPicture(std::string_view encoded, const Status& why) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  constexpr size_t kShortest = 8;
  std::string bytes;
  const bool text = encoded.size() >= kShortest && encoded.find_first_not_of(kAlphabet) == std::string_view::npos;
  if (!text || !absl::Base64Unescape({encoded.data(), encoded.size()}, &bytes)) {
    return InvalidArgument("Image parsing failed - {}", Message(why));
  }
  return InvalidArgument(
      "Image parsing failed - the value is base64, and decoded it is {}. KServe's JSON takes the base64 of a JPEG or a PNG as "
      "a plain string; bytes as they are come by the binary extension alone",
      Message(ReadImageInfo(bytes).status()));
}

}  // namespace

bool TakesImages(const TensorSpec& spec) {
  return !spec.shape.dynamic_rank && spec.shape.dims.size() == 4 && spec.type != ElementType::kBytes;
}

StatusOr<ImageTensor> ImageTensor::Plan(const TensorSpec& spec, const TensorView& strings, const ImageRules& rules) {
  if (strings.shape.size() != 1) {
    return InvalidArgument(
        "Invalid number of shape dimensions - Expected number of binary input shape dimensions: 1; Actual: {}; input name: {}",
        strings.shape.size(), spec.name);
  }
  if (strings.shape[0] < 0) {
    return InvalidArgument("Invalid input shape - Negative or zero dimension size is not acceptable: {}; input name: {}",
                           ToString(strings.shape), spec.name);
  }
  const auto count = static_cast<size_t>(strings.shape[0]);
  if (count != strings.strings.size()) {
    return InvalidArgument("Invalid number of values in tensor proto container - Expected: {}; Actual: {}; input name: {}",
                           count, strings.strings.size(), spec.name);
  }
  if (!MayBeNhwc(spec.layout)) {
    return InvalidArgument(
        "Received binary image input but resource not configured to accept NHWC layout - Expected: NHWC; Actual: {}; input "
        "name: {}; with --layout NHWC:{} pictures are taken",
        spec.layout, spec.name, spec.layout);
  }
  if (!TakesPixels(spec.type)) {
    return InvalidArgument(
        "Invalid input precision - Expected: {}, which pictures cannot become; Actual: STRING; input name: {}",
        PrecisionName(spec.type), spec.name);
  }
  if (!spec.shape.dims[0].Accepts(strings.shape[0])) {
    return InvalidArgument("Invalid input batch size - Expected: {}; Actual: {}; input name: {}", Text(spec.shape.dims[0]),
                           strings.shape[0], spec.name);
  }
  if (count == 0)
    return InvalidArgument("Invalid input batch size - Expected: at least 1; Actual: 0; input name: {}", spec.name);
  ImageTensor result(spec, rules);
  SY_RETURN_IF_ERROR(result.ReadHeaders(strings));
  return result;
}

Status ImageTensor::ReadHeaders(const TensorView& strings) {
  pictures_.reserve(strings.strings.size());
  for (const std::string_view encoded : strings.strings) pictures_.push_back({.encoded = encoded});
  for (size_t i = 0; i < pictures_.size(); ++i) {
    if (Status status = ReadHeader(i); !status.ok()) {
      return InvalidArgument("{}; image: {}; input name: {}", Message(status), i, spec_->name);
    }
  }
  SY_RETURN_IF_ERROR(ChooseShape());
  for (size_t i = 0; i < pictures_.size(); ++i) {
    if (Status status = CheckPicture(i); !status.ok()) {
      return InvalidArgument("{}; image: {}; input name: {}", Message(status), i, spec_->name);
    }
  }
  return absl::OkStatus();
}

Status ImageTensor::ReadHeader(size_t index) {
  Picture& picture = pictures_[index];
  if (picture.encoded.empty())
    return InvalidArgument("Bytes contents is empty - String val is empty where a picture should be");
  if (LooksLikeBase64(picture.encoded) &&
      !absl::Base64Unescape({picture.encoded.data(), picture.encoded.size()}, &picture.own)) {
    return InvalidArgument("Image parsing failed - it begins as the base64 of a picture, but is not base64");
  }
  StatusOr<ImageInfo> info = ReadImageInfo(picture.bytes());
  if (!info.ok() && picture.own.empty()) return NoPicture(picture.encoded, info.status());
  if (!info.ok()) return InvalidArgument("Image parsing failed - {}", Message(info.status()));
  picture.info = *std::move(info);
  if (picture.info.pixels() <= rules_.max_pixels) return absl::OkStatus();
  return InvalidArgument("The picture is too large - Expected: at most {} pixels (--max_image_pixels); Actual: {}x{}",
                         rules_.max_pixels, picture.info.width, picture.info.height);
}

Status ImageTensor::ChooseShape() {
  const auto& dims = spec_->shape.dims;
  const ImageInfo& first = pictures_[0].info;
  const auto choose = [](const Dimension& dim, int64_t value) { return std::clamp(value, dim.min, dim.max); };
  const int64_t channels = IsOpen(dims[kChannels]) ? first.channels : choose(dims[kChannels], first.channels);
  shape_ = {static_cast<int64_t>(pictures_.size()), choose(dims[kHeight], first.height), choose(dims[kWidth], first.width),
            channels};
  const auto bytes = ByteCount(shape_, ElementSize(spec_->type));
  if (!bytes || *bytes > rules_.max_tensor_bytes) {
    return InvalidArgument(
        "The pictures are too large together - Expected: a tensor of at most {} bytes; Actual: {} {}; input "
        "name: {}; send fewer or smaller ones at once",
        rules_.max_tensor_bytes, ToString(shape_), PrecisionName(spec_->type), spec_->name);
  }
  bytes_ = *bytes;
  const uint64_t samples = bytes_ / ElementSize(spec_->type);
  work_ = samples;
  for (const Picture& picture : pictures_) work_ += picture.info.bytes();
  return absl::OkStatus();
}

Status ImageTensor::CheckPicture(size_t index) const {
  const auto& dims = spec_->shape.dims;
  const ImageInfo& info = pictures_[index].info;
  const ImageInfo& first = pictures_[0].info;
  if (info.channels != shape_[kChannels]) {
    const bool swapped = dims[1].Accepts(info.channels) && !IsOpen(dims[1]) && spec_->layout != "NHWC";
    return InvalidArgument("Invalid number of channels in binary input - Expected: {}; Actual: {}{}", Text(dims[kChannels]),
                           info.channels, swapped ? "; if the model's layout is NCHW, say --layout NHWC:NCHW" : "");
  }
  // Without a bound there is no size to bring the pictures to.
  if (!IsOpen(dims[kHeight]) && !IsOpen(dims[kWidth])) return absl::OkStatus();
  if (info.width != first.width || info.height != first.height) {
    return InvalidArgument(
        "Binary input images are required to have the same resolution, since the model's is open - Expected: {}x{}; Actual: "
        "{}x{}",
        first.width, first.height, info.width, info.height);
  }
  if (info.height == shape_[kHeight] && info.width == shape_[kWidth]) return absl::OkStatus();
  return InvalidArgument(
      "Invalid input shape - Expected: {}; Actual: a picture of {}x{}, which is not resized, since a "
      "dimension is open",
      spec_->shape.ToString(), info.width, info.height);
}

Status ImageTensor::Decode(size_t index) {
  const Picture& picture = pictures_[index];
  const ImageInfo& info = picture.info;
  const size_t one = bytes_ / pictures_.size();
  std::byte* const to = memory_.data() + index * one;
  const bool as_it_is =
      spec_->type == ElementType::kUint8 && info.sample_bytes == 1 && info.bytes() == one && info.height == shape_[kHeight];
  Buffer pixels = as_it_is ? Buffer() : Buffer::Allocate(info.bytes());
  const Status status = DecodeImage(picture.bytes(), info, rules_.order, as_it_is ? to : pixels.data());
  if (!status.ok()) {
    return InvalidArgument("Image parsing failed - {}; image: {}; input name: {}", Message(status), index, spec_->name);
  }
  if (!as_it_is) ResizePixels(info, pixels.data(), shape_[kHeight], shape_[kWidth], spec_->type, to);
  return absl::OkStatus();
}

TensorView ImageTensor::Take(std::vector<Buffer>& memory) {
  TensorView view;
  view.type = spec_->type;
  view.shape = shape_;
  view.data = memory_.data();
  view.bytes = bytes_;
  memory.push_back(std::move(memory_));
  return view;
}

}  // namespace switchyard
