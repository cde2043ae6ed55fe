#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <memory>
#include <string>

#include "image/codecs.h"
#include "image/libjpeg.h"

namespace switchyard {
namespace {

// A progressive picture may bring any number of scans, each of which costs as much as the whole picture. Real ones have ten.
int MaxScans(const jpeg_decompress_struct& decompress) {
  constexpr uint64_t kPixelsOfAllScans = uint64_t{1} << 28;
  const uint64_t pixels = uint64_t{decompress.image_width} * decompress.image_height;
  return static_cast<int>(std::clamp<uint64_t>(kPixelsOfAllScans / std::max<uint64_t>(pixels, 1), 24, 100));
}

struct Errors {
  jpeg_error_mgr manager;  // first: libjpeg knows the object by its address
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  bool ran_dry;  // bits were made up, because the data ended
};

Errors& ErrorsOf(j_common_ptr common) { return *reinterpret_cast<Errors*>(common->err); }

[[noreturn]] void OnError(j_common_ptr common) {
  Errors& errors = ErrorsOf(common);
  errors.manager.format_message(common, errors.message);
  std::longjmp(errors.jump, 1);
}

// Warnings are for bytes that can be passed over, which cameras write.
void OnMessage(j_common_ptr common, int level) {
  if (level < 0 && common->err->msg_code == JWRN_HIT_MARKER) ErrorsOf(common).ran_dry = true;
}

void OnProgress(j_common_ptr common) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(common);
  const int most = MaxScans(*decompress);
  if (decompress->input_scan_number <= most) return;
  std::snprintf(ErrorsOf(common).message, JMSG_LENGTH_MAX, "more than %d scans", most);
  std::longjmp(ErrorsOf(common).jump, 1);
}

struct Source {
  jpeg_source_mgr manager;  // first
  bool ended;               // all bytes were read, and more were wanted
};

// A picture may lack its end marker only: it is made up, and whether anything else is missing is judged afterwards.
boolean FillWithEnd(j_decompress_ptr decompress) {
  static const JOCTET kEnd[] = {0xff, JPEG_EOI};
  auto& source = *reinterpret_cast<Source*>(decompress->src);
  source.ended = true;
  source.manager.next_input_byte = kEnd;
  source.manager.bytes_in_buffer = sizeof(kEnd);
  return TRUE;
}

void Skip(j_decompress_ptr decompress, long count) {
  jpeg_source_mgr& manager = *decompress->src;
  if (count <= 0) return;
  if (static_cast<size_t>(count) > manager.bytes_in_buffer) {
    FillWithEnd(decompress);
    return;
  }
  manager.next_input_byte += count;
  manager.bytes_in_buffer -= static_cast<size_t>(count);
}

void Nothing(j_decompress_ptr) {}

// libjpeg leaves by longjmp, so that nothing that needs a destructor may live in a function that calls it.
class JpegReader {
 public:
  explicit JpegReader(std::string_view encoded) {
    decompress_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = OnError;
    errors_.manager.emit_message = OnMessage;
    progress_.progress_monitor = OnProgress;
    source_.manager.init_source = Nothing;
    source_.manager.fill_input_buffer = FillWithEnd;
    source_.manager.skip_input_data = Skip;
    source_.manager.resync_to_restart = jpeg_resync_to_restart;
    source_.manager.term_source = Nothing;
    source_.manager.next_input_byte = reinterpret_cast<const JOCTET*>(encoded.data());
    source_.manager.bytes_in_buffer = encoded.size();
  }
  ~JpegReader() { jpeg_destroy_decompress(&decompress_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool ReadHeader(ImageInfo& info) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&decompress_);
    decompress_.src = &source_.manager;
    decompress_.progress = &progress_;
    jpeg_read_header(&decompress_, TRUE);
    info.format = ImageInfo::Format::kJpeg;
    info.width = decompress_.image_width;
    info.height = decompress_.image_height;
    info.channels = decompress_.num_components == 1 ? 1 : 3;
    info.sample_bytes = 1;
    return true;
  }

  // After ReadHeader. `row`: room for one row of four samples a pixel, when four() says that it is needed.
  bool ReadPixels(ColorOrder order, std::byte* pixels, std::byte* row) {
    if (setjmp(errors_.jump) != 0) return false;
    if (decompress_.num_components == 1) {
      decompress_.out_color_space = JCS_GRAYSCALE;
    } else if (four()) {
      decompress_.out_color_space = JCS_CMYK;
    } else {
      decompress_.out_color_space = order == ColorOrder::kBgr ? JCS_EXT_BGR : JCS_EXT_RGB;
    }
    several_scans_ = jpeg_has_multiple_scans(&decompress_) != FALSE;
    jpeg_start_decompress(&decompress_);
    const size_t channels = decompress_.num_components == 1 ? 1 : 3;
    while (decompress_.output_scanline < decompress_.output_height) {
      std::byte* const to = pixels + decompress_.output_scanline * channels * decompress_.output_width;
      auto* into = reinterpret_cast<JSAMPROW>(four() ? row : to);
      jpeg_read_scanlines(&decompress_, &into, 1);
      if (four()) FromCmyk(into, order, reinterpret_cast<JSAMPROW>(to));
    }
    return true;
  }

  // CMYK or YCCK.
  bool four() const { return decompress_.num_components == 4; }
  size_t row_bytes() const { return size_t{decompress_.image_width} * 4; }
  // Bits were made up behind the end, or there were scans to come.
  bool truncated() const { return source_.ended && (errors_.ran_dry || several_scans_); }
  std::string_view message() const { return errors_.message; }

 private:
  // Inverted, as Adobe writes them: 255 is no ink. OpenCV's arithmetic.
  void FromCmyk(const JSAMPLE* from, ColorOrder order, JSAMPLE* to) const {
    const int red = order == ColorOrder::kBgr ? 2 : 0;
    for (size_t x = 0; x < decompress_.output_width; ++x, from += 4, to += 3) {
      const int black = from[3];
      const auto light = [black](int ink) { return static_cast<JSAMPLE>(black - ((255 - ink) * black >> 8)); };
      to[red] = light(from[0]);
      to[1] = light(from[1]);
      to[2 - red] = light(from[2]);
    }
  }

  jpeg_decompress_struct decompress_{};
  Errors errors_{};
  Source source_{};
  jpeg_progress_mgr progress_{};
  bool several_scans_ = false;
};

Status FaultyJpeg(const JpegReader& reader) { return InvalidArgument("faulty JPEG: {}", reader.message()); }

}  // namespace

StatusOr<ImageInfo> ReadJpegInfo(std::string_view encoded) {
  JpegReader reader(encoded);
  ImageInfo info;
  if (!reader.ReadHeader(info)) return FaultyJpeg(reader);
  return info;
}

Status DecodeJpeg(std::string_view encoded, const ImageInfo& info, ColorOrder order, std::byte* pixels) {
  JpegReader reader(encoded);
  ImageInfo found;
  if (!reader.ReadHeader(found)) return FaultyJpeg(reader);
  SY_RETURN_IF_ERROR(CheckSame(found, info));
  const std::unique_ptr<std::byte[]> row(reader.four() ? new std::byte[reader.row_bytes()] : nullptr);
  if (!reader.ReadPixels(order, pixels, row.get())) return FaultyJpeg(reader);
  if (reader.truncated()) return InvalidArgument("faulty JPEG: its {} bytes end before the picture does", encoded.size());
  return absl::OkStatus();
}

}  // namespace switchyard
