#include "transport/grpc/grpc_server.h"

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "transport/grpc/call_context.h"
#include "transport/grpc/grpc_test_server.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::HasSubstr;

grpc::ByteBuffer Bytes(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

std::string Text(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  if (!bytes.Dump(&slices).ok()) return "";
  std::string text;
  for (const grpc::Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

TEST_F(GrpcServerTest, AnswersAnInference) {
  Start();
  Async(FakeRuntime::Async::kThread);
  EXPECT_THAT(server_->address(), HasSubstr("127.0.0.1:"));
  for (int i = 0; i < 200; ++i) {
    inference::ModelInferResponse response;
    const grpc::Status status = Call(kModelInfer, Request(static_cast<float>(i), std::to_string(i)), response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.id(), std::to_string(i));
    EXPECT_EQ(response.model_version(), "1");
    EXPECT_EQ(response.outputs(0).name(), "a");
    EXPECT_THAT(Values(response.raw_output_contents(0)), Each(i + 1.0f));
  }
}

TEST_F(GrpcServerTest, ManyCallsAtOnceAreAllAnswered) {
  GrpcServer::Options options;
  options.workers = 3;
  Start(options);
  Async(FakeRuntime::Async::kThread);
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 100; ++i) {
        inference::ModelInferResponse response;
        const float value = static_cast<float>(1000 * c + i);
        if (Call(kModelInfer, Request(value), response).ok() && Values(response.raw_output_contents(0))[9] == value + 1)
          ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 800);
}

TEST_F(GrpcServerTest, LargeTensorsGoBothWays) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) {
    script.async = FakeRuntime::Async::kThread;
    script.signature.inputs[0].shape.dims = {Dimension::Dynamic()};
    script.signature.outputs[0].shape.dims = {Dimension::Dynamic()};
  });
  Start();
  inference::ModelInferRequest request = Request();
  request.mutable_inputs(0)->clear_shape();
  request.mutable_inputs(0)->add_shape(300000);
  request.mutable_raw_input_contents(0)->assign(1200000, '\0');
  inference::ModelInferResponse response;
  const grpc::Status status = Call(kModelInfer, request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(Values(response.raw_output_contents(0)), testing::AllOf(testing::SizeIs(300000), Each(1.0f)));
}

TEST_F(GrpcServerTest, FaultsHaveTheirCodes) {
  Start();
  inference::ModelInferRequest request = Request();
  request.set_model_name("other");
  EXPECT_EQ(Infer(request).error_code(), grpc::NOT_FOUND);
  request = Request();
  request.set_model_version("7");
  EXPECT_EQ(Infer(request).error_code(), grpc::NOT_FOUND);
  request.set_model_version("x");
  EXPECT_EQ(Infer(request).error_code(), grpc::INVALID_ARGUMENT);
  request = Request();
  request.mutable_inputs(0)->set_shape(1, 11);
  const grpc::Status status = Infer(request);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("Invalid input shape - Expected: (1,10); Actual: (1,11); input name: b"));
  request.mutable_inputs(0)->set_name(std::string(100000, 'n'));
  EXPECT_EQ(Infer(request).error_code(), grpc::INVALID_ARGUMENT);
  grpc::ByteBuffer answer;
  EXPECT_EQ(Call(kModelInfer, Bytes("\x0a\xff garbage"), answer).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(Call(kModelReady, Bytes("\x0a\xff garbage"), answer).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(Call("/inference.GRPCInferenceService/RepositoryIndex", Bytes(""), answer).error_code(), grpc::UNIMPLEMENTED);
  EXPECT_EQ(Call("/some.Service/Method", Bytes(""), answer).error_code(), grpc::UNIMPLEMENTED);
  EXPECT_EQ(Call("/tensorflow.serving.PredictionService/Classify", Bytes(""), answer).error_code(), grpc::UNIMPLEMENTED);
}

TEST_F(GrpcServerTest, ADeadlineEndsACallThatWaits) {
  Start({}, 1);
  std::thread first([&] { EXPECT_TRUE(Infer(Request(1)).ok()); });
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + milliseconds(50));
  inference::ModelInferResponse response;
  EXPECT_EQ(Call(kModelInfer, Request(2), response, context).error_code(), grpc::DEADLINE_EXCEEDED);
  // The request's own limit, without gRPC's.
  inference::ModelInferRequest request = Request(3);
  (*request.mutable_parameters())["timeout"].set_int64_param(20000);
  grpc::Status status = Infer(request);
  for (int i = 0; i < 1000 && status.error_code() == grpc::RESOURCE_EXHAUSTED; ++i) status = Infer(request);
  EXPECT_EQ(status.error_code(), grpc::DEADLINE_EXCEEDED);
  // The one place in the queue is free again, and taken by one call alone.
  std::thread third([&] {
    grpc::Status answer = Infer(Request(4));
    while (answer.error_code() == grpc::RESOURCE_EXHAUSTED) answer = Infer(Request(4));
    EXPECT_TRUE(answer.ok());
  });
  while (Infer(request).error_code() != grpc::RESOURCE_EXHAUSTED) std::this_thread::yield();
  Async(FakeRuntime::Async::kThread);
  runtime_.CompleteAll();
  first.join();
  third.join();
  EXPECT_TRUE(WaitUntilIdle());
}

TEST_F(GrpcServerTest, ACancelledCallGivesItsPlaceBack) {
  Start({}, 1);
  std::thread first([&] { EXPECT_TRUE(Infer(Request(1)).ok()); });
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  grpc::ClientContext context;
  std::thread second([&] {
    inference::ModelInferResponse response;
    EXPECT_EQ(Call(kModelInfer, Request(2), response, context).error_code(), grpc::CANCELLED);
  });
  while (server_->calls_in_flight() < 2) std::this_thread::yield();
  context.TryCancel();
  second.join();
  while (server_->calls_in_flight() > 1) std::this_thread::yield();
  std::thread third([&] { EXPECT_TRUE(Infer(Request(3)).ok()); });
  while (server_->calls_in_flight() < 2) std::this_thread::yield();
  runtime_.CompleteNext();
  first.join();
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  runtime_.CompleteNext();
  third.join();
  EXPECT_EQ(runtime_.async_starts(), 2u);
}

TEST_F(GrpcServerTest, ControlCallsOfKserve) {
  Start();
  inference::ModelReadyRequest request;
  inference::ModelReadyResponse ready;
  request.set_name("dummy");
  ASSERT_TRUE(Call(kModelReady, request, ready).ok());
  EXPECT_TRUE(ready.ready());
  request.set_version("9");
  ASSERT_TRUE(Call(kModelReady, request, ready).ok());
  EXPECT_FALSE(ready.ready());
  request.set_version("nine");
  EXPECT_EQ(Call(kModelReady, request, ready).error_code(), grpc::INVALID_ARGUMENT);
  inference::ServerLiveResponse live;
  ASSERT_TRUE(Call("/inference.GRPCInferenceService/ServerLive", inference::ServerLiveRequest(), live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse server_ready;
  ASSERT_TRUE(Call("/inference.GRPCInferenceService/ServerReady", inference::ServerReadyRequest(), server_ready).ok());
  EXPECT_TRUE(server_ready.ready());
  inference::ServerMetadataResponse server;
  ASSERT_TRUE(Call("/inference.GRPCInferenceService/ServerMetadata", inference::ServerMetadataRequest(), server).ok());
  EXPECT_EQ(server.name(), "switchyard");
  EXPECT_EQ(server.version(), SWITCHYARD_VERSION);
  inference::ModelMetadataRequest of_model;
  of_model.set_name("dummy");
  of_model.set_version("0");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(Call("/inference.GRPCInferenceService/ModelMetadata", of_model, metadata).ok());
  EXPECT_THAT(metadata.versions(), testing::ElementsAre("1"));
  EXPECT_EQ(metadata.platform(), "OpenVINO");
  EXPECT_EQ(metadata.inputs(0).name(), "b");
  EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");
  EXPECT_THAT(metadata.outputs(0).shape(), testing::ElementsAre(1, 10));
  of_model.set_name("other");
  EXPECT_EQ(Call("/inference.GRPCInferenceService/ModelMetadata", of_model, metadata).error_code(), grpc::NOT_FOUND);
}

TEST_F(GrpcServerTest, TensorFlowServing) {
  namespace proto = tensorflow::serving;
  Start();
  Async(FakeRuntime::Async::kThread);
  proto::PredictRequest request;
  request.mutable_model_spec()->set_name("dummy");
  auto& tensor = (*request.mutable_inputs())["b"];
  tensor.set_dtype(tensorflow::DT_FLOAT);
  tensor.mutable_tensor_shape()->add_dim()->set_size(1);
  tensor.mutable_tensor_shape()->add_dim()->set_size(10);
  tensor.add_float_val(4);
  proto::PredictResponse response;
  const grpc::Status status = Call("/tensorflow.serving.PredictionService/Predict", request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model_spec().version().value(), 1);
  EXPECT_THAT(Values(response.outputs().at("a").tensor_content()), testing::AllOf(testing::SizeIs(10), Each(5.0f)));

  proto::GetModelMetadataRequest metadata_request;
  proto::GetModelMetadataResponse metadata;
  constexpr char kMetadata[] = "/tensorflow.serving.PredictionService/GetModelMetadata";
  EXPECT_EQ(Call(kMetadata, metadata_request, metadata).error_code(), grpc::INVALID_ARGUMENT);
  metadata_request.mutable_model_spec()->set_name("dummy");
  EXPECT_EQ(Call(kMetadata, metadata_request, metadata).error_code(), grpc::INVALID_ARGUMENT);
  metadata_request.add_metadata_field("signature_def");
  ASSERT_TRUE(Call(kMetadata, metadata_request, metadata).ok());
  proto::SignatureDefMap signatures;
  ASSERT_TRUE(metadata.metadata().at("signature_def").UnpackTo(&signatures));
  const auto& signature = signatures.signature_def().at("serving_default");
  EXPECT_EQ(signature.method_name(), "tensorflow/serving/predict");
  EXPECT_EQ(signature.inputs().at("b").dtype(), tensorflow::DT_FLOAT);
  EXPECT_EQ(signature.outputs().at("a").tensor_shape().dim(1).size(), 10);

  proto::GetModelStatusRequest status_request;
  proto::GetModelStatusResponse model;
  constexpr char kStatus[] = "/tensorflow.serving.ModelService/GetModelStatus";
  status_request.mutable_model_spec()->set_name("dummy");
  ASSERT_TRUE(Call(kStatus, status_request, model).ok());
  ASSERT_EQ(model.model_version_status_size(), 1);
  EXPECT_EQ(model.model_version_status(0).state(), proto::ModelVersionStatus::AVAILABLE);
  EXPECT_EQ(model.model_version_status(0).status().error_message(), "OK");
  status_request.mutable_model_spec()->mutable_version()->set_value(5);
  EXPECT_EQ(Call(kStatus, status_request, model).error_code(), grpc::NOT_FOUND);
}

TEST_F(GrpcServerTest, SaysOfEachServiceWhetherItServes) {
  Start();
  const auto health = [&](const std::string& service) {
    std::string request;
    if (!service.empty()) request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    grpc::ByteBuffer answer;
    const grpc::Status status = Call("/grpc.health.v1.Health/Check", Bytes(request), answer);
    return status.ok() ? Text(answer) : status.error_message();
  };
  const std::string serving("\x08\x01");
  const std::string not_serving("\x08\x02");
  EXPECT_EQ(health(""), not_serving);
  server_->SetServing(true);
  EXPECT_EQ(health(""), serving);
  EXPECT_EQ(health("inference.GRPCInferenceService"), serving);
  EXPECT_EQ(health("tensorflow.serving.PredictionService"), serving);
  server_->SetServing(false);
  EXPECT_EQ(health("tensorflow.serving.ModelService"), not_serving);
}

// Field numbers of the requests are those of the standard, written out: what the generated code says is not what is tested.
TEST_F(GrpcServerTest, TellsOfItsServicesByBothVersionsOfReflection) {
  Start();
  for (const char* const version : {"v1", "v1alpha"}) {
    const std::string path = std::string("/grpc.reflection.") + version + ".ServerReflection/ServerReflectionInfo";
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
        grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
            channel_.get(), grpc::internal::RpcMethod(path.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING), &context));
    const auto reflect = [&](const std::string& request) {
      grpc::ByteBuffer answer;
      return stream->Write(Bytes(request)) && stream->Read(&answer) ? Text(answer) : "";
    };
    const std::string list = reflect(std::string("\x3a\x00", 2));
    for (const char* const service :
         {"inference.GRPCInferenceService", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService",
          "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}) {
      EXPECT_THAT(list, HasSubstr(service)) << version;
      const std::string file = reflect(std::string("\x22") + static_cast<char>(strlen(service)) + service);
      EXPECT_THAT(file, HasSubstr(std::string(service).substr(std::string(service).rfind('.') + 1))) << version;
      EXPECT_THAT(file, HasSubstr("proto3")) << version;
    }
    EXPECT_THAT(reflect("\x22\x1e"
                        "inference.GRPCInferenceService"),
                HasSubstr("ModelStreamInferResponse"));
    // With what it imports.
    EXPECT_THAT(reflect("\x1a\x18"
                        "tensorflow_serving.proto"),
                testing::AllOf(HasSubstr("PredictRequest"), HasSubstr("TensorShapeProto")));
    EXPECT_THAT(reflect("\x22\x0e"
                        "no.such.Symbol"),
                HasSubstr("no.such.Symbol is not known"));
    EXPECT_THAT(reflect("\x1a\x08"
                        "no.proto"),
                HasSubstr("no.proto is not known"));
    EXPECT_THAT(reflect("\x32\x1b"
                        "inference.ModelInferRequest"),
                HasSubstr("inference.ModelInferRequest"));
    EXPECT_THAT(reflect(""), HasSubstr("asks for nothing"));
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok()) << version;

    grpc::ClientContext faulty;
    stream.reset(grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
        channel_.get(), grpc::internal::RpcMethod(path.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING), &faulty));
    EXPECT_EQ(reflect("\x0a\xff garbage"), "");
    EXPECT_EQ(stream->Finish().error_code(), grpc::INVALID_ARGUMENT) << version;
  }
}

TEST_F(GrpcServerTest, DrainDoesNotWaitForAClientOfReflection) {
  Start();
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel_.get(),
          grpc::internal::RpcMethod("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                    grpc::internal::RpcMethod::BIDI_STREAMING),
          &context));
  grpc::ByteBuffer answer;
  ASSERT_TRUE(stream->Write(Bytes(std::string("\x3a\x00", 2))));
  ASSERT_TRUE(stream->Read(&answer));
  const auto start = std::chrono::steady_clock::now();
  server_->Drain(timer_.Now() + std::chrono::seconds(60));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_FALSE(stream->Read(&answer));
  stream->Finish();
}

TEST_F(GrpcServerTest, DrainLetsCallsFinish) {
  Start();
  std::thread client([&] { EXPECT_TRUE(Infer(Request(1)).ok()); });
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  std::thread drain([&] { server_->Drain(timer_.Now() + std::chrono::seconds(60)); });
  // From some moment on nothing new is taken.
  grpc::Status status;
  do {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(200));
    inference::ServerLiveResponse live;
    status = Call("/inference.GRPCInferenceService/ServerLive", inference::ServerLiveRequest(), live, context);
  } while (status.ok());
  runtime_.CompleteNext();
  client.join();
  drain.join();
  EXPECT_EQ(server_->calls_in_flight(), 0u);
}

TEST_F(GrpcServerTest, DrainCancelsWhatTakesTooLong) {
  Start();
  std::thread client([&] {
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    EXPECT_FALSE(Call(kModelInfer, Request(1), response, context).ok());
  });
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  server_->Drain(timer_.Now() + milliseconds(50));
  client.join();
  EXPECT_EQ(server_->calls_in_flight(), 0u);
}

// A call object that begins to wait while gRPC shuts down may be forgotten by it, and the drain then waits for ever.
TEST_F(GrpcServerTest, DrainEndsWhileCallsKeepComing) {
  for (int round = 0; round < 8; ++round) {
    Start();
    std::atomic<int> answered{0};
    std::vector<std::thread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&] {
        inference::ServerLiveResponse live;
        while (Call("/inference.GRPCInferenceService/ServerLive", inference::ServerLiveRequest(), live).ok()) ++answered;
      });
    }
    while (answered < 8) std::this_thread::yield();
    server_->Drain(timer_.Now() + std::chrono::seconds(60));
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(server_->calls_in_flight(), 0u);
    server_.reset();
    manager_.reset();
  }
}

TEST_F(GrpcServerTest, NobodyMakesACallWaitOnceTheServerStops) {
  std::atomic<bool> stopping{false};
  grpc_listener::ArmingGate gate;
  ASSERT_TRUE(gate.Enter(stopping));
  stopping = true;
  EXPECT_FALSE(gate.Enter(stopping));
  std::atomic<bool> left{false};
  std::thread stop([&] {
    gate.WaitUntilEmpty();
    EXPECT_TRUE(left);
  });
  std::this_thread::yield();
  left = true;
  gate.Leave();
  stop.join();
}

TEST_F(GrpcServerTest, DrainDoesNotWaitForAClientThatWatchesHealth) {
  Start();
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> watch(grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(
      channel_.get(), grpc::internal::RpcMethod("/grpc.health.v1.Health/Watch", grpc::internal::RpcMethod::SERVER_STREAMING),
      &context, Bytes("")));
  grpc::ByteBuffer state;
  ASSERT_TRUE(watch->Read(&state));
  const auto start = std::chrono::steady_clock::now();
  server_->Drain(timer_.Now() + std::chrono::seconds(60));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  while (watch->Read(&state)) {
  }
  watch->Finish();
}

TEST_F(GrpcServerTest, AnAddressThatIsTakenIsAnError) {
  Start();
  GrpcServer::Options options;
  options.hosts = {"127.0.0.1"};
  options.port = static_cast<uint16_t>(std::stoi(server_->address().substr(server_->address().find(':') + 1)));
  const auto second = GrpcServer::Start(options, *manager_, timer_, {kserve::GrpcInferenceService()});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(second.status())), HasSubstr("gRPC cannot listen on " + server_->address()));
}

TEST_F(GrpcServerTest, ListensOnASocketFile) {
  Start();
  Async(FakeRuntime::Async::kThread);
  GrpcServer::Options options;
  const std::string address = "unix:" + (repository_.path() / "socket").string();
  options.hosts = {address};
  auto second = GrpcServer::Start(options, *manager_, timer_, {kserve::GrpcInferenceService()});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ((*second)->address(), address);
  channel_ = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  EXPECT_TRUE(Infer(Request(1)).ok());
}

TEST_F(GrpcServerTest, ASocketFileStaysWithTheServerThatListensThere) {
  Start();
  GrpcServer::Options options;
  // What looks percent-encoded is a name as any other, for the check and for gRPC.
  const std::string path = (repository_.path() / "a%41.socket").string();
  options.hosts = {"unix:" + path};
  const auto start = [&] { return GrpcServer::Start(options, *manager_, timer_, {kserve::GrpcInferenceService()}); };
  auto first = start();
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = start();
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(second.status())), HasSubstr(path + ": another server listens there; choose another path"));
  EXPECT_TRUE(std::filesystem::is_socket(path));
  first->reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  std::ofstream(path) << "a file";
  EXPECT_EQ(start().status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST_F(GrpcServerTest, AMessageBeyondTheLimitIsRefused) {
  GrpcServer::Options options;
  options.max_message_bytes = 1000;
  Start(options);
  inference::ModelInferRequest request = Request();
  request.set_id(std::string(2000, 'i'));
  EXPECT_EQ(Infer(request).error_code(), grpc::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace switchyard
