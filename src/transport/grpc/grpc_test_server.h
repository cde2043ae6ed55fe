// A listener on a loopback port over the real Manager and the fake runtime, and a client without generated stubs. Test code
// only.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kserve.pb.h"
#include "protocol/kserve/grpc_codec.h"
#include "protocol/tfs/grpc_codec.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"
#include "tensorflow_serving.pb.h"
#include "transport/grpc/grpc_server.h"

namespace switchyard {

inline constexpr char kModelInfer[] = "/inference.GRPCInferenceService/ModelInfer";
inline constexpr char kModelStreamInfer[] = "/inference.GRPCInferenceService/ModelStreamInfer";
inline constexpr char kModelReady[] = "/inference.GRPCInferenceService/ModelReady";

class GrpcServerTest : public testing::Test {
 protected:
  using Stream = grpc::ClientReaderWriter<inference::ModelInferRequest, inference::ModelStreamInferResponse>;

  // Serves `dummy`, not on the listener's thread: inferences end when the test says so.
  void Start(GrpcServer::Options options = {}, uint32_t max_queue = 1024) {
    runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.facts.cpu_only = false; });
    manager_ = std::make_unique<Manager>(runtime_, timer_, Manager::Options{.max_queue = max_queue});
    ModelSettings settings = repository_.Add("dummy", {1});
    settings.nireq = 1;
    manager_->SetWanted({settings}, {});
    manager_->WaitForLoads();
    options.hosts = {"127.0.0.1"};
    auto server = GrpcServer::Start(options, *manager_, timer_,
                                    {kserve::GrpcInferenceService(), tfs::PredictionService(), tfs::ModelService()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
  }
  void Async(FakeRuntime::Async async) {
    runtime_.Update("dummy", [async](FakeRuntime::Script& script) { script.async = async; });
  }
  void TearDown() override {
    runtime_.CompleteAll();
    server_.reset();
    manager_.reset();
    EXPECT_THAT(runtime_.violations(), testing::IsEmpty());
  }

  static inference::ModelInferRequest Request(float value = 1, const std::string& id = "") {
    inference::ModelInferRequest request;
    request.set_model_name("dummy");
    request.set_id(id);
    auto& input = *request.add_inputs();
    input.set_name("b");
    input.set_datatype("FP32");
    input.add_shape(1);
    input.add_shape(10);
    const std::vector<float> values(10, value);
    request.add_raw_input_contents(std::string(reinterpret_cast<const char*>(values.data()), 40));
    return request;
  }
  static std::vector<float> Values(const std::string& raw) {
    const auto* data = reinterpret_cast<const float*>(raw.data());
    return {data, data + raw.size() / sizeof(float)};
  }

  template <typename Request, typename Response>
  grpc::Status Call(const char* method, const Request& request, Response& response, grpc::ClientContext& context) {
    return grpc::internal::BlockingUnaryCall<Request, Response>(
        channel_.get(), grpc::internal::RpcMethod(method, grpc::internal::RpcMethod::NORMAL_RPC), &context, request, &response);
  }
  template <typename Request, typename Response>
  grpc::Status Call(const char* method, const Request& request, Response& response) {
    grpc::ClientContext context;
    return Call(method, request, response, context);
  }
  grpc::Status Infer(const inference::ModelInferRequest& request) {
    inference::ModelInferResponse response;
    return Call(kModelInfer, request, response);
  }
  std::unique_ptr<Stream> OpenStream(grpc::ClientContext& context) {
    return std::unique_ptr<Stream>(
        grpc::internal::ClientReaderWriterFactory<inference::ModelInferRequest, inference::ModelStreamInferResponse>::Create(
            channel_.get(), grpc::internal::RpcMethod(kModelStreamInfer, grpc::internal::RpcMethod::BIDI_STREAMING), &context));
  }
  // Until no call is in flight in the server, at most ten seconds.
  bool WaitUntilIdle() {
    for (int i = 0; i < 10000 && server_->calls_in_flight() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return server_->calls_in_flight() == 0;
  }

  FakeRuntime runtime_;
  ThreadTimer timer_;
  TempRepository repository_;
  std::unique_ptr<Manager> manager_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace switchyard
