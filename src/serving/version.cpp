#include "serving/version.h"

#include "serving/batcher.h"
#include "serving/encoded_inputs.h"
#include "serving/executor.h"
#include "serving/infer_call.h"
#include "serving/placer.h"
#include "serving/sequences.h"
#include "serving/shape_instances.h"
#include "serving/validator.h"

namespace switchyard {

Version::Version(ModelSettings settings, int64_t number, Signature signature, std::shared_ptr<Executor> executor,
                 std::shared_ptr<Placer> placer, std::shared_ptr<ModelMetrics> metrics, DecodeOptions decode_options)
    : settings_(std::move(settings)),
      number_(number),
      number_text_(std::to_string(number)),
      signature_(Batcher::Open(signature, settings_)),
      metrics_(metrics != nullptr ? std::move(metrics) : std::make_shared<ModelMetrics>(settings_.name, number_text_)),
      decode_options_(decode_options),
      executor_(std::move(executor)),
      batcher_(!settings_.dynamic_batching ? nullptr
                                           : std::make_shared<Batcher>(settings_, std::move(signature), executor_, metrics_)),
      placer_(std::move(placer)) {}

Version::~Version() = default;

ShapeInstances* Version::shapes() const { return placer_ == nullptr ? nullptr : placer_->shapes(); }

Sequences* Version::sequences() const { return placer_ == nullptr ? nullptr : placer_->sequences(); }

size_t Version::queued() const {
  size_t count = executor_->queued();
  if (shapes() != nullptr) count += shapes()->queued();
  if (sequences() != nullptr) count += sequences()->waiting();
  if (batcher_ != nullptr) count += batcher_->queued();
  return count;
}

std::optional<TimePoint> Version::oldest_queued() const {
  std::optional<TimePoint> oldest = executor_->oldest_queued();
  const std::optional<TimePoint> other = shapes() == nullptr ? std::nullopt : shapes()->oldest_queued();
  const std::optional<TimePoint> behind = sequences() == nullptr ? std::nullopt : sequences()->oldest_waiting();
  const std::optional<TimePoint> joined = batcher_ == nullptr ? std::nullopt : batcher_->oldest_queued();
  for (const std::optional<TimePoint>& one : {other, behind, joined}) {
    if (one && (!oldest || *one < *oldest)) oldest = one;
  }
  return oldest;
}

size_t Version::active() const { return executor_->active() + (shapes() == nullptr ? 0 : shapes()->active()); }

bool Version::only_given_up() const {
  const size_t given_up = executor_->given_up() + (shapes() == nullptr ? 0 : shapes()->given_up());
  return given_up > 0 && active() <= given_up && queued() == 0;
}

VersionSlot::VersionSlot(std::unique_ptr<Version> version, absl::AnyInvocable<void(VersionSlot&)> on_drained)
    : version_(std::move(version)), on_drained_(std::move(on_drained)) {}

VersionSlot::~VersionSlot() = default;

bool VersionSlot::Acquire() {
  if ((users_.fetch_add(1, std::memory_order_acq_rel) & kClosed) == 0) return true;
  Release();
  return false;
}

void VersionSlot::Release() {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) Drained();
}

void VersionSlot::Close() {
  // Each of its sequences is a user.
  if (version_ != nullptr && version_->sequences() != nullptr) version_->sequences()->Retire();
  if (users_.fetch_or(kClosed, std::memory_order_acq_rel) == 0) Drained();
}

void VersionSlot::Drained() {
  // A late Acquire on a closed slot counts up and down again: only the first time is the real one.
  if (drained_.exchange(true)) return;
  on_drained_(*this);
}

namespace {

void Execute(const std::shared_ptr<InferCall>& call) {
  const Version& version = *call->version;
  Status status = ValidateAndBind(version.signature(), *call);
  if (status.ok()) status = PlaceOutputs(*call);
  if (!status.ok()) return version.executor().Answer(*call, status);
  if (version.batcher() != nullptr) return version.batcher()->Submit(call);
  if (ShapeInstances* const shapes = version.shapes()) return shapes->Submit(call);
  if (call->request.sequence != nullptr) {
    if (Sequences* const sequences = version.sequences()) return sequences->Submit(call);
  }
  version.executor().Submit(call);
}

}  // namespace

void Infer(Handle handle, std::shared_ptr<InferCall> call) {
  call->version = std::move(handle);
  if (const Status status = ResolveShared(call->version->decode_options().shared_memory, *call); !status.ok()) {
    call->Complete(status);
    return;
  }
  if (Sequences* const sequences = call->version->sequences()) {
    if (const Status status = sequences->Route(*call); !status.ok()) {
      call->Complete(status);
      return;
    }
  }
  if (!HasEncodedInputs(*call)) return Execute(call);
  const Version& version = *call->version;
  version.executor().Hold(call);
  DecodeInputs(call, version.decode_options(), [](const std::shared_ptr<InferCall>& decoded, const Status& status) {
    if (status.ok()) return Execute(decoded);
    decoded->version->executor().Cancel(*decoded, status);
  });
}

}  // namespace switchyard
