#include "serving/encoded_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/mutex.h"
#include "base/timer.h"
#include "image/test_pictures.h"
#include "serving/executor.h"
#include "serving/string_outputs.h"
#include "serving/work_pool.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TensorSpec Spec(std::string name, ElementType type, std::vector<Dimension> dims) {
  return {.name = std::move(name), .type = type, .shape = {.dims = std::move(dims)}, .batch_dim = 0};
}

constexpr Dimension kOpen{};

// Calls of a version that nobody serves: what matters is what they are when they would be validated.
class EncodedInputsTest : public ::testing::Test {
 protected:
  std::shared_ptr<InferCall> Call(Signature signature, ModelSettings settings = {}) {
    settings.name = "model";
    auto executor = std::make_shared<Executor>(timer_, Executor::Options{});
    auto version = std::make_unique<Version>(std::move(settings), 1, std::move(signature), std::move(executor));
    slot_ = std::make_shared<VersionSlot>(std::move(version), [](VersionSlot&) {});
    EXPECT_TRUE(slot_->Acquire());
    auto call = std::make_shared<InferCall>();
    call->version = Handle(slot_);
    call->on_done = [this](InferCall&, const Status& status) { answer_ = status; };
    return call;
  }
  void Give(InferCall& call, std::string_view input, std::vector<std::string> texts) {
    texts_.push_back(std::make_unique<std::vector<std::string>>(std::move(texts)));
    auto table = std::make_unique<std::string_view[]>(texts_.back()->size());
    std::copy(texts_.back()->begin(), texts_.back()->end(), table.get());
    TensorView view;
    view.type = ElementType::kBytes;
    view.shape = {static_cast<int64_t>(texts_.back()->size())};
    view.strings = {table.get(), texts_.back()->size()};
    call.request.string_tables.push_back(std::move(table));
    call.request.inputs.push_back({input, view});
  }
  // Until it is decoded. Cancelled when nothing came.
  Status Decode(const std::shared_ptr<InferCall>& call, const DecodeOptions& options = {}) {
    auto done = std::make_shared<Notification>();
    auto result = std::make_shared<Status>();
    DecodeInputs(call, options, [=](const std::shared_ptr<InferCall>&, const Status& status) {
      *result = status;
      done->Notify();
    });
    if (!done->WaitFor(std::chrono::seconds(30))) return absl::CancelledError("nothing came");
    return *result;
  }

  ManualTimer timer_;
  std::vector<std::unique_ptr<std::vector<std::string>>> texts_;
  std::shared_ptr<VersionSlot> slot_;
  Status answer_;
};

std::string Png(int width, int height) { return EncodePng(width, height, Gradient(width, height, 3)); }

TEST_F(EncodedInputsTest, PicturesAndTextsBecomeTensorsBesideOneAnother) {
  const auto call = Call({.inputs = {Spec("text", ElementType::kUint8, {kOpen, kOpen}),
                                     Spec("image", ElementType::kUint8, {kOpen, kOpen, kOpen, Dimension::Fixed(3)}),
                                     Spec("number", ElementType::kFp32, {kOpen})}});
  Give(*call, "image", {Png(5, 4), Png(5, 4)});
  Give(*call, "text", {"abc", ""});
  call->request.inputs.push_back({"number", {.type = ElementType::kFp32, .shape = {1}}});
  ASSERT_TRUE(HasEncodedInputs(*call));
  ASSERT_TRUE(Decode(call).ok());
  EXPECT_EQ(call->request.inputs[0].tensor.shape, (Shape{2, 4, 5, 3}));
  const TensorView& text = call->request.inputs[1].tensor;
  EXPECT_EQ(text.shape, (Shape{2, 4}));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(text.data), text.bytes), std::string("abc\0\0\0\0\0", 8));
  EXPECT_FALSE(HasEncodedInputs(*call));
}

TEST_F(EncodedInputsTest, StringTensorsAndPlainOnesAreLeftAlone) {
  const auto call =
      Call({.inputs = {Spec("text", ElementType::kBytes, {kOpen}), Spec("rows", ElementType::kUint8, {kOpen, kOpen})}});
  Give(*call, "text", {"abc"});
  call->request.inputs.push_back({"rows", {.type = ElementType::kUint8, .shape = {1, 1}}});
  EXPECT_FALSE(HasEncodedInputs(*call));
}

TEST_F(EncodedInputsTest, ThePoolDecodesWhatIsLarge) {
  WorkPool pool(2);
  const DecodeOptions options{.pool = &pool};
  const auto call = Call(
      {.inputs = {Spec("image", ElementType::kUint8, {kOpen, Dimension::Fixed(8), Dimension::Fixed(8), Dimension::Fixed(3)})}});
  std::vector<std::string> pictures;
  for (int i = 0; i < 9; ++i) pictures.push_back(Png(300 + i, 400));
  Give(*call, "image", pictures);
  ASSERT_TRUE(Decode(call, options).ok());
  EXPECT_EQ(call->request.inputs[0].tensor.shape, (Shape{9, 8, 8, 3}));
  const auto faulty = Call(slot_->get()->signature());
  pictures[7].resize(pictures[7].size() / 2);
  Give(*faulty, "image", pictures);
  EXPECT_THAT(std::string(Message(Decode(faulty, options))), HasSubstr("image: 7; input name: image"));
  // More headers than a listener's thread looks at, one of which is none.
  const auto none = Call(slot_->get()->signature());
  pictures.assign(40, Png(2, 2));
  pictures[39] = "none";
  Give(*none, "image", pictures);
  EXPECT_THAT(std::string(Message(Decode(none, options))), HasSubstr("image: 39; input name: image"));
}

TEST_F(EncodedInputsTest, AFullPoolRefuses) {
  // Nobody works: what comes stays.
  WorkPool pool(0);
  const auto call = Call({.inputs = {Spec("image", ElementType::kUint8, {kOpen, kOpen, kOpen, Dimension::Fixed(3)})}});
  Give(*call, "image", {Png(600, 400)});
  DecodeInputs(call, {.pool = &pool, .max_waiting = 1}, [](const auto&, const Status&) { FAIL(); });
  const Status status = Decode(call, {.pool = &pool, .max_waiting = 1});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("--max_queue"));
  EXPECT_TRUE(call->queue_full) << "what metrics tell from a request that is too large";
}

TEST_F(EncodedInputsTest, AnAnsweredCallIsNotDecoded) {
  const auto call = Call({.inputs = {Spec("image", ElementType::kUint8, {kOpen, kOpen, kOpen, Dimension::Fixed(3)})}});
  Give(*call, "image", {Png(20, 10)});
  call->Complete(absl::CancelledError("gone"));
  bool went_on = false;
  DecodeInputs(call, {}, [&](const auto&, const Status&) { went_on = true; });
  EXPECT_FALSE(went_on);
  EXPECT_EQ(call->request.inputs[0].tensor.type, ElementType::kBytes);
}

TEST_F(EncodedInputsTest, TheDeadlineCountsWhileThePoolIsBusy) {
  const auto call = Call({.inputs = {Spec("image", ElementType::kUint8, {kOpen, kOpen, kOpen, Dimension::Fixed(3)})}});
  call->request.deadline = timer_.Now() + std::chrono::seconds(1);
  call->version->executor().Hold(call);
  timer_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(answer_.code(), StatusCode::kDeadlineExceeded);
}

TEST_F(EncodedInputsTest, ACallThatIsAnsweredEarlyLeavesNoTimerBehind) {
  const Signature signature{.inputs = {Spec("image", ElementType::kUint8, {kOpen, kOpen, kOpen, Dimension::Fixed(3)})}};
  const auto run = [&](const std::shared_ptr<InferCall>& call) {
    call->request.deadline = timer_.Now() + std::chrono::hours(24);
    Handle handle = std::move(call->version);
    Infer(std::move(handle), call);
  };
  // Decoded well, and refused for an output that the model does not have.
  const auto refused = Call(signature);
  Give(*refused, "image", {Png(20, 10)});
  refused->request.requested_outputs.push_back("none");
  run(refused);
  EXPECT_EQ(answer_.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(timer_.pending(), 0u);
  // Its client left while something was done to it.
  const auto left = Call(signature);
  left->request.deadline = timer_.Now() + std::chrono::hours(24);
  left->version->executor().Hold(left);
  EXPECT_EQ(timer_.pending(), 1u);
  left->Cancel(absl::CancelledError("gone"));
  EXPECT_EQ(answer_.code(), StatusCode::kCancelled);
  EXPECT_EQ(timer_.pending(), 0u);
}

TEST_F(EncodedInputsTest, ColoursAreWhatClientsAreToSend) {
  ModelSettings settings;
  settings.color_formats["image"] = {.model = "BGR", .tensor = "RGB"};
  for (const bool rgb : {false, true}) {
    const auto call = Call({.inputs = {Spec("image", ElementType::kUint8, {kOpen, kOpen, kOpen, Dimension::Fixed(3)})}},
                           rgb ? settings : ModelSettings{});
    Give(*call, "image", {EncodePng(1, 1, {10, 20, 30})});
    ASSERT_TRUE(Decode(call).ok());
    const auto* pixel = reinterpret_cast<const uint8_t*>(call->request.inputs[0].tensor.data);
    EXPECT_EQ(pixel[0], rgb ? 10 : 30);
    EXPECT_EQ(pixel[2], rgb ? 30 : 10);
  }
}

// Small jobs end while a large one is worked on, though it came first and its pieces would take all threads.
TEST(WorkPool, JobsTakeTurns) {
  struct Job final : WorkPool::Job {
    explicit Job(size_t count) : pieces(count) {}
    size_t Begin() override { return pieces; }
    void Run(size_t piece) override {
      if (gate != nullptr && piece == 0) gate->WaitForNotification();
    }
    void End() override { ended.Notify(); }
    const size_t pieces;
    Notification* gate = nullptr;
    Notification ended;
  };
  Notification gate;
  const auto large = std::make_shared<Job>(100'000);
  const auto small = std::make_shared<Job>(3);
  const auto empty = std::make_shared<Job>(0);
  large->gate = &gate;
  {
    WorkPool pool(2);
    EXPECT_TRUE(pool.Add(large, 10));
    EXPECT_TRUE(pool.Add(small, 10));
    EXPECT_TRUE(pool.Add(empty, 10));
    EXPECT_TRUE(small->ended.WaitFor(std::chrono::seconds(30)));
    EXPECT_TRUE(empty->ended.WaitFor(std::chrono::seconds(30)));
    EXPECT_FALSE(large->ended.HasBeenNotified());
    gate.Notify();
    EXPECT_TRUE(large->ended.WaitFor(std::chrono::seconds(30)));
  }
}

TEST(StringOutputs, RowsEndAtTheirFirstZero) {
  EXPECT_TRUE(GivesStringRows(Spec("a_string", ElementType::kUint8, {kOpen, kOpen})));
  EXPECT_FALSE(GivesStringRows(Spec("a", ElementType::kUint8, {kOpen, kOpen})));
  EXPECT_FALSE(GivesStringRows(Spec("a_string", ElementType::kUint8, {kOpen})));
  EXPECT_FALSE(GivesStringRows(Spec("a_string", ElementType::kInt8, {kOpen, kOpen})));
  const std::string text("ab\0dabcd\0\0\0\0", 12);
  OutputTensor rows{.type = ElementType::kUint8, .shape = {3, 4}};
  rows.data = reinterpret_cast<const std::byte*>(text.data());
  rows.bytes = text.size();
  const OutputTensor strings = ToStrings(rows);
  EXPECT_EQ(strings.type, ElementType::kBytes);
  EXPECT_EQ(strings.shape, Shape{3});
  EXPECT_THAT(strings.strings, ElementsAre("ab", "abcd", ""));
}

}  // namespace
}  // namespace switchyard
