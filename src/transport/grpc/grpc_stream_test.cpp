#include <thread>

#include "transport/grpc/grpc_test_server.h"

namespace switchyard {
namespace {

using inference::ModelStreamInferResponse;
using testing::Each;
using testing::HasSubstr;

class GrpcStreamTest : public GrpcServerTest {};

TEST_F(GrpcStreamTest, AnswersComeInTheOrderOfTheMessages) {
  Start();
  Async(FakeRuntime::Async::kThread);
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  std::thread writer([&] {
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(stream->Write(Request(static_cast<float>(i), std::to_string(i))));
    stream->WritesDone();
  });
  ModelStreamInferResponse response;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.error_message(), "");
    EXPECT_EQ(response.infer_response().id(), std::to_string(i));
    EXPECT_THAT(Values(response.infer_response().raw_output_contents(0)), Each(i + 1.0f));
  }
  EXPECT_FALSE(stream->Read(&response));
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GrpcStreamTest, ErrorsComeInBandAndInOrder) {
  Start();
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  inference::ModelInferRequest unknown = Request(1, "second");
  unknown.set_model_name("other");
  inference::ModelInferRequest wrong = Request(1, "third");
  wrong.mutable_inputs(0)->set_datatype("INT32");
  stream->Write(Request(1, "first"));
  stream->Write(unknown);
  stream->Write(wrong);
  stream->Write(Request(1, "fourth"));
  stream->WritesDone();
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  Async(FakeRuntime::Async::kThread);
  runtime_.CompleteAll();
  std::vector<std::string> errors;
  std::vector<std::string> ids;
  ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    errors.push_back(response.error_message());
    ids.push_back(response.infer_response().id());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(ids, testing::ElementsAre("first", "second", "third", "fourth"));
  EXPECT_THAT(errors, testing::ElementsAre("", HasSubstr("Model with requested name is not found"),
                                           HasSubstr("Invalid input precision"), ""));
}

TEST_F(GrpcStreamTest, CancellingTheStreamEmptiesTheQueue) {
  Start();
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  for (int i = 0; i < 5; ++i) stream->Write(Request(1));
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  EXPECT_TRUE(WaitUntilIdle());
  runtime_.CompleteAll();
  EXPECT_LE(runtime_.async_starts(), 5u);
}

TEST_F(GrpcStreamTest, AStreamWithoutMessagesEndsWell) {
  Start();
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  stream->WritesDone();
  ModelStreamInferResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GrpcStreamTest, DrainAnswersWhatWasReadAndEndsTheStream) {
  Start();
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  stream->Write(Request(1, "only"));
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  std::thread drain([&] { server_->Drain(timer_.Now() + std::chrono::seconds(60)); });
  runtime_.CompleteNext();
  ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.infer_response().id(), "only");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::UNAVAILABLE);
  drain.join();
}

}  // namespace
}  // namespace switchyard
