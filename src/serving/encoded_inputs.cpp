#include "serving/encoded_inputs.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "config/settings.h"
#include "image/image_tensor.h"
#include "serving/work_pool.h"

namespace switchyard {
namespace {

// Samples that may be read and written on a listener's thread: about half a millisecond.
constexpr uint64_t kInlineWork = 300'000;
// As many headers, and bytes, are looked at there to find out.
constexpr size_t kInlineStrings = 16;
constexpr size_t kInlineBytes = 256 << 10;
constexpr uint64_t kMaxTensorBytes = uint64_t{1} << 30;

// The texts of one input as rows of the same length.
class StringRows {
 public:
  static StatusOr<StringRows> Plan(const TensorSpec& spec, const TensorView& view);

  uint64_t work() const { return bytes_; }
  TensorView Make(std::vector<Buffer>& memory) const;

 private:
  absl::Span<const std::string_view> strings_;
  size_t width_ = 0;
  size_t bytes_ = 0;
};

StatusOr<StringRows> StringRows::Plan(const TensorSpec& spec, const TensorView& view) {
  if (view.shape.size() != 1) {
    return InvalidArgument(
        "Invalid number of shape dimensions - Expected number of binary input shape dimensions: 1; Actual: {}; input name: {}",
        view.shape.size(), spec.name);
  }
  const size_t count = view.strings.size();
  if (view.shape[0] != static_cast<int64_t>(count)) {
    return InvalidArgument("Invalid number of values in tensor proto container - Expected: {}; Actual: {}; input name: {}",
                           view.shape[0], count, spec.name);
  }
  size_t longest = 0;
  for (const std::string_view text : view.strings) longest = std::max(longest, text.size());
  StringRows rows;
  rows.strings_ = view.strings;
  // A model of wider rows gets more zeros.
  rows.width_ = std::max(longest + 1, static_cast<size_t>(spec.shape.dims[1].min));
  const auto bytes = ByteCount({static_cast<int64_t>(count), static_cast<int64_t>(rows.width_)}, 1);
  if (!bytes || *bytes > kMaxTensorBytes) {
    return InvalidArgument(
        "The strings are too large together - Expected: at most {} bytes, each as long as the longest; Actual: "
        "{} strings, the longest of {} bytes; input name: {}",
        kMaxTensorBytes, count, longest, spec.name);
  }
  if (!spec.shape.dims[1].Accepts(static_cast<int64_t>(rows.width_))) {
    return InvalidArgument("Invalid input shape - Expected: {}; Actual: ({},{}), the longest string and a zero; input name: {}",
                           spec.shape.ToString(), count, rows.width_, spec.name);
  }
  rows.bytes_ = *bytes;
  return rows;
}

TensorView StringRows::Make(std::vector<Buffer>& memory) const {
  Buffer buffer = Buffer::Allocate(bytes_);
  std::byte* to = buffer.data();
  for (const std::string_view text : strings_) {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    std::memset(to + text.size(), 0, width_ - text.size());
    to += width_;
  }
  TensorView view;
  view.type = ElementType::kUint8;
  view.shape = {static_cast<int64_t>(strings_.size()), static_cast<int64_t>(width_)};
  view.data = buffer.data();
  view.bytes = bytes_;
  memory.push_back(std::move(buffer));
  return view;
}

// The setting of one input: by its name, else that of the single input.
template <typename Map>
auto FindSetting(const Map& map, const std::string& name) {
  const auto found = map.find(name);
  return found != map.end() ? found : map.find(typename Map::key_type());
}

ImageRules RulesFor(const TensorSpec& spec, const ModelSettings& settings, const DecodeOptions& options) {
  ImageRules rules{.max_pixels = options.max_image_pixels, .max_tensor_bytes = kMaxTensorBytes};
  const auto color = FindSetting(settings.color_formats, spec.name);
  // Pictures come as what clients are to send, and as BGR where that is not said.
  if (color != settings.color_formats.end() && color->second.tensor == "RGB") rules.order = ColorOrder::kRgb;
  return rules;
}

// What the encoded inputs of one request become: judged first, then made piece by piece, on any threads, then put into it.
class EncodedTensors {
 public:
  // All must outlive it.
  EncodedTensors(const Signature& signature, const ModelSettings& settings, const DecodeOptions& options,
                 DecodedRequest& request)
      : signature_(signature), settings_(settings), options_(options), request_(request) {}

  Status Plan();
  uint64_t work() const { return work_; }
  // After Plan, once. How many pieces there are.
  size_t Allocate();
  Status Make(size_t piece);
  // When all were made.
  void Take();

 private:
  struct Images {
    size_t input;
    ImageTensor tensor;
  };
  struct Texts {
    size_t input;
    StringRows rows;
  };
  // A picture of images_[input], or texts_[input] as a whole.
  struct Piece {
    size_t input;
    std::optional<size_t> picture;
  };

  Status PlanInput(const TensorSpec& spec, size_t input);

  const Signature& signature_;
  const ModelSettings& settings_;
  const DecodeOptions options_;
  DecodedRequest& request_;
  std::vector<Images> images_;
  std::vector<Texts> texts_;
  std::vector<TensorView> made_texts_;
  std::vector<std::vector<Buffer>> text_memory_;
  std::vector<Piece> pieces_;
  uint64_t work_ = 0;
};

Status EncodedTensors::Plan() {
  const auto& inputs = request_.inputs;
  // The validator says what is wrong with their number and names.
  if (inputs.size() != signature_.inputs.size()) return absl::OkStatus();
  for (const TensorSpec& spec : signature_.inputs) {
    const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const NamedTensor& i) { return i.name == spec.name; });
    if (found == inputs.end()) break;
    if (found->tensor.type != ElementType::kBytes) continue;
    SY_RETURN_IF_ERROR(PlanInput(spec, static_cast<size_t>(found - inputs.begin())));
  }
  made_texts_.resize(texts_.size());
  text_memory_.resize(texts_.size());
  return absl::OkStatus();
}

Status EncodedTensors::PlanInput(const TensorSpec& spec, size_t input) {
  const TensorView& view = request_.inputs[input].tensor;
  if (EncodedFormOf(spec) == EncodedForm::kRows) {
    SY_ASSIGN_OR_RETURN(StringRows rows, StringRows::Plan(spec, view));
    work_ += rows.work();
    pieces_.push_back({texts_.size(), std::nullopt});
    texts_.push_back({input, std::move(rows)});
  } else if (EncodedFormOf(spec) == EncodedForm::kImages) {
    SY_ASSIGN_OR_RETURN(ImageTensor tensor, ImageTensor::Plan(spec, view, RulesFor(spec, settings_, options_)));
    work_ += tensor.work();
    for (size_t i = 0; i < tensor.size(); ++i) pieces_.push_back({images_.size(), i});
    images_.push_back({input, std::move(tensor)});
  }
  return absl::OkStatus();
}

size_t EncodedTensors::Allocate() {
  for (Images& images : images_) images.tensor.Allocate();
  return pieces_.size();
}

Status EncodedTensors::Make(size_t piece) {
  const auto [input, picture] = pieces_[piece];
  if (picture) return images_[input].tensor.Decode(*picture);
  made_texts_[input] = texts_[input].rows.Make(text_memory_[input]);
  return absl::OkStatus();
}

void EncodedTensors::Take() {
  for (Images& images : images_) request_.inputs[images.input].tensor = images.tensor.Take(request_.memory);
  for (size_t i = 0; i < texts_.size(); ++i) {
    request_.inputs[texts_[i].input].tensor = made_texts_[i];
    for (Buffer& buffer : text_memory_[i]) request_.memory.push_back(std::move(buffer));
  }
}

// Those of one call.
class DecodeJob final : public WorkPool::Job {
 public:
  DecodeJob(std::shared_ptr<InferCall> call, const DecodeOptions& options, Decoded then)
      : call_(std::move(call)),
        then_(std::move(then)),
        tensors_(call_->version->signature(), call_->version->settings(), options, call_->request) {}

  // Judges all of them, once. Begin does it if nobody has.
  Status Plan();
  uint64_t work() const { return tensors_.work(); }
  // Answers in place of the pool.
  void Refuse(const Status& status) { then_(call_, status); }

  size_t Begin() override;
  void Run(size_t piece) override;
  void End() override;

 private:
  void Note(const Status& status);

  const std::shared_ptr<InferCall> call_;
  Decoded then_;
  EncodedTensors tensors_;
  bool planned_ = false;
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  Status status_ ABSL_GUARDED_BY(mutex_);
};

// A pool's thread has nobody above it who would know what to do.
template <typename Work>
Status WithMemory(Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kUnavailable,
                 "The server has no memory left for the decoded inputs; send less at once or try later");
  }
}

Status DecodeJob::Plan() {
  planned_ = true;
  return WithMemory([this] { return tensors_.Plan(); });
}

void DecodeJob::Note(const Status& status) {
  if (status.ok()) return;
  MutexLock lock(&mutex_);
  if (status_.ok()) status_ = status;
  failed_.store(true, std::memory_order_relaxed);
}

size_t DecodeJob::Begin() {
  if (call_->completed()) return 0;
  if (!planned_) Note(Plan());
  if (failed_.load(std::memory_order_relaxed)) return 0;
  size_t pieces = 0;
  Note(WithMemory([&] {
    pieces = tensors_.Allocate();
    return absl::OkStatus();
  }));
  return failed_.load(std::memory_order_relaxed) ? 0 : pieces;
}

void DecodeJob::Run(size_t piece) {
  // Nobody waits for it any more.
  if (failed_.load(std::memory_order_relaxed) || call_->completed()) return;
  Note(WithMemory([&] { return tensors_.Make(piece); }));
}

void DecodeJob::End() {
  if (call_->completed()) return;
  Status status;
  {
    MutexLock lock(&mutex_);
    status = status_;
  }
  if (status.ok()) tensors_.Take();
  then_(call_, status);
}

bool IsEncoded(const TensorSpec& spec, const TensorView& tensor) {
  return tensor.type == ElementType::kBytes && EncodedFormOf(spec) != EncodedForm::kNone;
}

// Little enough to look at on a listener's thread?
bool IsSmall(const InferCall& call) {
  size_t count = 0;
  size_t bytes = 0;
  for (const NamedTensor& input : call.request.inputs) {
    count += input.tensor.strings.size();
    if (count > kInlineStrings) return false;
    for (const std::string_view text : input.tensor.strings) bytes += text.size();
  }
  return bytes <= kInlineBytes;
}

}  // namespace

EncodedForm EncodedFormOf(const TensorSpec& spec) {
  if (TakesImages(spec)) return EncodedForm::kImages;
  const bool rows = spec.type == ElementType::kUint8 && !spec.shape.dynamic_rank && spec.shape.dims.size() == 2;
  return rows ? EncodedForm::kRows : EncodedForm::kNone;
}

bool HasEncodedInputs(const InferCall& call) {
  for (const NamedTensor& input : call.request.inputs) {
    if (input.tensor.type != ElementType::kBytes) continue;
    for (const TensorSpec& spec : call.version->signature().inputs) {
      if (spec.name == input.name && IsEncoded(spec, input.tensor)) return true;
    }
  }
  return false;
}

Status DecodeInputs(const Signature& signature, const ModelSettings& settings, const DecodeOptions& options,
                    DecodedRequest& request) {
  EncodedTensors tensors(signature, settings, options, request);
  SY_RETURN_IF_ERROR(tensors.Plan());
  const size_t pieces = tensors.Allocate();
  for (size_t i = 0; i < pieces; ++i) SY_RETURN_IF_ERROR(tensors.Make(i));
  tensors.Take();
  return absl::OkStatus();
}

void DecodeInputs(const std::shared_ptr<InferCall>& call, const DecodeOptions& options, Decoded then) {
  const auto job = std::make_shared<DecodeJob>(call, options, std::move(then));
  const bool small = options.pool == nullptr || IsSmall(*call);
  if (small) {
    if (const Status status = job->Plan(); !status.ok()) return job->Refuse(status);
  }
  if (options.pool == nullptr || (small && job->work() <= kInlineWork)) {
    const size_t pieces = job->Begin();
    for (size_t i = 0; i < pieces; ++i) job->Run(i);
    job->End();
  } else if (!options.pool->Add(job, options.max_waiting)) {
    call->queue_full.store(true, std::memory_order_relaxed);
    job->Refuse(Error(StatusCode::kResourceExhausted,
                      "The queue of pictures is full: {} calls are waiting to be decoded (--max_queue); try again later",
                      options.max_waiting));
  }
}

}  // namespace switchyard
