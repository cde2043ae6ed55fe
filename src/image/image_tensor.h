// The pictures of one request to the tensor that an input takes, by the rules of OVMS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "image/image.h"
#include "tensor/buffer.h"
#include "tensor/signature.h"
#include "tensor/tensor_view.h"

namespace switchyard {

// An input that takes pictures: four dimensions, and no strings.
bool TakesImages(const TensorSpec& spec);

struct ImageRules {
  // Of one picture.
  uint64_t max_pixels = uint64_t{1} << 26;
  ColorOrder order = ColorOrder::kBgr;
  // Of what the pictures of one input become.
  uint64_t max_tensor_bytes = uint64_t{1} << 30;
};

// One input's pictures, their headers read and judged. Decode may run for different pictures on different threads at once.
class ImageTensor {
 public:
  // `strings` are the pictures (or their base64, as JSON has them) of the input `spec`, for which TakesImages holds; they must
  // stay while this object is used, as must `spec`. The tensor has the input's type and the shape (N, H, W, C): H and W are the
  // input's; where these are a range, the first picture's, moved into the range; where they are open, the first picture's,
  // which all others must share then. InvalidArgument, with the picture's position, for whatever does not fit.
  static StatusOr<ImageTensor> Plan(const TensorSpec& spec, const TensorView& strings, const ImageRules& rules);

  size_t size() const { return pictures_.size(); }
  // Samples to be read and to be written, of all pictures: a measure of the time it takes.
  uint64_t work() const { return work_; }

  // Takes the tensor's memory. Before the first Decode.
  void Allocate() { memory_ = Buffer::Allocate(bytes_); }
  // Picture `index`, into its place.
  Status Decode(size_t index);
  // After all were decoded. The view's memory goes along.
  TensorView Take(std::vector<Buffer>& memory);

 private:
  struct Picture {
    std::string_view encoded;
    std::string own;  // what base64 held
    ImageInfo info;

    std::string_view bytes() const { return own.empty() ? encoded : std::string_view(own); }
  };

  ImageTensor(const TensorSpec& spec, const ImageRules& rules) : spec_(&spec), rules_(rules) {}
  Status ReadHeaders(const TensorView& strings);
  Status ReadHeader(size_t index);
  Status ChooseShape();
  Status CheckPicture(size_t index) const;

  const TensorSpec* spec_;
  ImageRules rules_;
  std::vector<Picture> pictures_;
  Shape shape_;
  size_t bytes_ = 0;
  uint64_t work_ = 0;
  Buffer memory_;
};

}  // namespace switchyard
