// Requests to answers, with the fake runtime behind them.
#include "protocol/rest/rest_api.h"

#include <cstring>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/http/json_reader.h"
#include "protocol/http/test_body.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class RestApiTest : public ::testing::Test {
 protected:
  RestApiTest() {
    FakeRuntime::Script images;
    images.signature.inputs = {{"image",
                                ElementType::kFp32,
                                {{Dimension::Fixed(1), Dimension::Fixed(3), Dimension::Fixed(224), Dimension::Fixed(224)}},
                                0}};
    images.signature.outputs = {{"image", ElementType::kFp32, images.signature.inputs[0].shape, 0}};
    images.signature.info = {{"labels", "a \"b\"", {}},
                             {"more", std::nullopt, {{"deep", "1", {}}, {"none", std::nullopt, {}}}}};
    images.async = FakeRuntime::Async::kInline;
    runtime_.Set("images", images);
    FakeRuntime::Script held;
    held.facts.cpu_only = false;
    runtime_.Set("held", held);
    FakeRuntime::Script broken;
    broken.load_error = InvalidArgument("the file is broken");
    runtime_.Set("broken", broken);
    FakeRuntime::Script dummy;
    dummy.async = FakeRuntime::Async::kInline;
    runtime_.Set("dummy", dummy);
    manager_.SetWanted({repository_.Add("dummy", {1, 2}), repository_.Add("images", {1}), repository_.Add("held", {1}),
                        repository_.Add("broken", {1})},
                       {});
    manager_.WaitForLoads();
  }

  HttpReply Ask(const std::string& method, const std::string& target, const std::string& body = {},
                std::optional<size_t> json_length = std::nullopt, const std::string& accept = {}) {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.accept_encoding = accept;
    if (json_length) request.inference_header_length = std::to_string(*json_length);
    request.body = MakeBody(body, json_length.value_or(0));
    auto responder = std::make_shared<TestResponder>();
    api_.Handle(std::move(request), responder);
    EXPECT_EQ(responder->replies.size(), 1U) << target;
    return responder->replies.empty() ? HttpReply() : std::move(responder->replies[0]);
  }
  std::string Text(const std::string& method, const std::string& target, const std::string& body = {}) {
    return Ask(method, target, body).body.Flatten();
  }
  int Code(const std::string& method, const std::string& target, const std::string& body = {}) {
    return Ask(method, target, body).code;
  }

  TempRepository repository_;
  FakeRuntime runtime_;
  ThreadTimer timer_;
  MetricsRegistry metrics_{MetricsRegistry::Options{.ovms = true, .families = {}}};
  Manager manager_{runtime_, timer_, {.metrics = &metrics_}};
  RestApi api_{manager_, timer_, {}};
};

const std::string kTen = "[0,1,2,3,4,5,6,7,8,9]";
const std::string kInferTen =
    "{\"id\":\"q\",\"inputs\":[{\"name\":\"b\",\"shape\":[1,10],\"datatype\":\"FP32\",\"data\":" + kTen + "}]}";

TEST_F(RestApiTest, TellsHealth) {
  EXPECT_EQ(Code("GET", "/v2/health/live"), 200);
  EXPECT_EQ(Text("GET", "/v2/health/live"), "{\"live\":true}");
  EXPECT_EQ(Code("GET", "/v2/health/ready"), 200);
  EXPECT_EQ(Text("GET", "/v2/health/ready"), "{\"ready\":true}");
  EXPECT_EQ(Code("GET", "/v2/models/dummy/ready"), 200);
  EXPECT_EQ(Code("GET", "/v2/models/dummy/versions/2/ready"), 200);
  EXPECT_EQ(Code("GET", "/v2/models/broken/ready"), 503);
  EXPECT_EQ(Code("GET", "/v2/models/unknown/ready"), 404);
  EXPECT_EQ(Code("GET", "/v2/models/dummy/versions/7/ready"), 404);
  manager_.Shutdown();
  EXPECT_EQ(Code("GET", "/v2/health/ready"), 503);
  EXPECT_THAT(Text("GET", "/v2/health/ready"), HasSubstr("{\"error\":\"The server is not ready"));
  EXPECT_EQ(Code("GET", "/v2/health/live"), 200);
}

TEST_F(RestApiTest, TellsMetadata) {
  EXPECT_THAT(Text("GET", "/v2"), HasSubstr("\"extensions\":[\"binary_tensor_data\",\"logging\","));
  EXPECT_EQ(Text("GET", "/v2/models/dummy"),
            "{\"name\":\"dummy\",\"versions\":[\"2\"],\"platform\":\"OpenVINO\","
            "\"inputs\":[{\"name\":\"b\",\"datatype\":\"FP32\",\"shape\":[1,10]}],"
            "\"outputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[1,10]}]}");
  EXPECT_THAT(Text("GET", "/v2/models/images"),
              EndsWith("],\"rt_info\":{\"model_info\":{\"labels\":\"a \\\"b\\\"\",\"more\":{\"deep\":\"1\",\"none\":{}}}}}"));
  EXPECT_EQ(Code("GET", "/v2/models/unknown"), 404);
  EXPECT_EQ(Code("GET", "/v2/models/broken"), 503);
  EXPECT_THAT(Text("GET", "/v1/models/dummy/metadata"),
              HasSubstr("\"inputs\":{\"b\":{\"dtype\":\"DT_FLOAT\",\"tensorShape\":{\"dim\":[{\"size\":\"1\",\"name\":\"\"},"
                        "{\"size\":\"10\",\"name\":\"\"}],\"unknownRank\":false},\"name\":\"b\"}}"));
  EXPECT_THAT(Text("GET", "/v1/models/dummy/metadata"), HasSubstr("\"signatureDef\":{\"serving_default\":{\"inputs\":{"));
  EXPECT_THAT(Text("GET", "/v1/models/dummy/metadata"), EndsWith("\"methodName\":\"tensorflow/serving/predict\"}}}}}"));
  EXPECT_EQ(Code("GET", "/v1/models/unknown/metadata"), 404);
}

TEST_F(RestApiTest, TellsStatus) {
  EXPECT_THAT(
      Text("GET", "/v1/models/dummy"),
      HasSubstr("{\"version\":\"2\",\"state\":\"AVAILABLE\",\"status\":{\"error_code\":\"OK\",\"error_message\":\"OK\"}}"));
  EXPECT_THAT(Text("GET", "/v1/models/broken"), HasSubstr("the file is broken"));
  EXPECT_EQ(Code("GET", "/v1/models/dummy/versions/9"), 404);
  EXPECT_EQ(Code("GET", "/v1/models/unknown"), 404);
  EXPECT_THAT(Text("GET", "/v1/config"), HasSubstr("\"dummy\":{\"model_version_status\":["));
  EXPECT_EQ(Code("POST", "/v1/config/reload"), 501);
  EXPECT_EQ(Code("POST", "/v1/models/dummy:classify", "{}"), 501);
}

TEST_F(RestApiTest, TellsTheVersionPolicyThatHolds) {
  const auto policy = [this] { return Text("GET", "/v2/models/dummy/config"); };
  EXPECT_THAT(policy(), HasSubstr("\"version_policy\":{\"latest\":{\"num_versions\":1}}"));
  ModelSettings settings = repository_.Add("dummy", {});
  settings.version_policy.kind = VersionPolicy::Kind::kAll;
  manager_.SetWanted({settings}, {});
  manager_.WaitForLoads();
  EXPECT_THAT(policy(), HasSubstr("\"version_policy\":{\"all\":{}}"));
  EXPECT_THAT(Text("GET", "/v2/models/dummy/versions/1/config"), HasSubstr("\"version_policy\":{\"all\":{}}"));
}

TEST_F(RestApiTest, UnknownLabelsAreCountedAsOtherQueriesAre) {
  const auto failed = [this] {
    const std::string page = manager_.metrics().Text();
    const std::string series =
        "ovms_requests_fail{api=\"TensorFlowServing\",interface=\"REST\",method=\"GetModelStatus\",name=\"dummy\"} ";
    const size_t at = page.find(series);
    return at == page.npos ? "" : page.substr(at + series.size(), 1);
  };
  EXPECT_EQ(failed(), "0");
  EXPECT_EQ(Code("GET", "/v1/models/dummy/labels/nobody"), 404);
  EXPECT_EQ(failed(), "1");
  EXPECT_EQ(Code("GET", "/v1/models/dummy/versions/9"), 404);
  EXPECT_EQ(failed(), "2");
}

TEST_F(RestApiTest, InfersOverKserve) {
  const std::string expected =
      "{\"model_name\":\"dummy\",\"model_version\":\"2\",\"id\":\"q\",\"outputs\":[{\"name\":\"a\",\"datatype\":"
      "\"FP32\",\"shape\":[1,10],\"data\":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0]}]}";
  EXPECT_EQ(Text("POST", "/v2/models/dummy/infer", kInferTen), expected);
  EXPECT_EQ(Text("POST", "/v2/models/dummy/versions/0/infer", kInferTen), expected);
  EXPECT_EQ(Code("POST", "/v2/models/dummy/versions/5/infer", kInferTen), 404);
  EXPECT_EQ(Code("POST", "/v2/models/unknown/infer", kInferTen), 404);
  EXPECT_EQ(Code("POST", "/v2/models/broken/infer", kInferTen), 503);
  EXPECT_EQ(Code("POST", "/v2/models/dummy/infer", "{"), 400);
  EXPECT_EQ(Code("POST", "/v2/models/dummy/infer", ""), 400);
}

TEST_F(RestApiTest, InfersBinaryInAndOut) {
  const std::string json =
      "{\"inputs\":[{\"name\":\"b\",\"shape\":[1,10],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":40}}],"
      "\"parameters\":{\"binary_data_output\":true}}";
  float values[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const std::string body = json + std::string(reinterpret_cast<const char*>(values), sizeof(values));
  const HttpReply reply = Ask("POST", "/v2/models/dummy/infer", body, json.size());
  ASSERT_EQ(reply.code, 200) << reply.body.Flatten();
  EXPECT_EQ(reply.content_type, "application/octet-stream");
  const std::string all = reply.body.Flatten();
  const size_t length = all.size() - 40;
  EXPECT_EQ(reply.headers, "Inference-Header-Content-Length: " + std::to_string(length) + "\r\n");
  EXPECT_THAT(all.substr(0, length), HasSubstr("\"parameters\":{\"binary_data_size\":40}}]}"));
  float out[10];
  std::memcpy(out, all.data() + length, sizeof(out));
  EXPECT_EQ(out[9], 11.0f);
  EXPECT_EQ(Ask("POST", "/v2/models/dummy/infer", body, body.size() + 1).code, 400);
}

TEST_F(RestApiTest, InfersOverTensorFlowServing) {
  EXPECT_EQ(Text("POST", "/v1/models/dummy:predict", "{\"instances\":[" + kTen + "]}"),
            "{\"predictions\":[[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0]]}");
  EXPECT_EQ(Text("POST", "/v1/models/dummy:predict", "{\"inputs\":{\"b\":[" + kTen + "]}}"),
            "{\"outputs\":[[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0]]}");
  EXPECT_EQ(Code("POST", "/v1/models/dummy:predict", "nonsense"), 400);
  EXPECT_EQ(Code("POST", "/v1/models/unknown:predict", "nonsense"), 404);
  EXPECT_EQ(Code("POST", "/v1/models/dummy:predict", "{\"instances\":[[1,2]]}"), 400);
  EXPECT_THAT(Text("POST", "/v1/models/dummy:predict", "{\"inputs\":{\"c\":[" + kTen + "]}}"), HasSubstr("Required input: b"));
}

TEST_F(RestApiTest, LargeAnswersAreReferredToOrCompressed) {
  const std::string json =
      "{\"inputs\":[{\"name\":\"image\",\"shape\":[1,3,224,224],\"datatype\":\"FP32\"}],"
      "\"parameters\":{\"binary_data_output\":true}}";
  const std::string body = json + std::string(602112, '\0');
  const HttpReply plain = Ask("POST", "/v2/models/images/infer", body, json.size());
  ASSERT_EQ(plain.code, 200);
  ASSERT_EQ(plain.body.segments().size(), 2U);
  EXPECT_EQ(plain.body.segments()[1].size, 602112U);
  EXPECT_NE(plain.body.segments()[1].data, nullptr);
  const HttpReply packed = Ask("POST", "/v2/models/images/infer", body, json.size(), "gzip");
  EXPECT_THAT(packed.headers, HasSubstr("Content-Encoding: gzip"));
  EXPECT_THAT(packed.headers, HasSubstr("Inference-Header-Content-Length: "));
  EXPECT_LT(packed.body.size(), 60000U);
}

// Triton's asyncio client asks for compression with every call, and undoes it for inferences alone.
TEST_F(RestApiTest, WhatKserveTellsBesideInferencesIsNeverCompressed) {
  const HttpReply statistics = Ask("GET", "/v2/models/stats", {}, std::nullopt, "gzip, deflate");
  EXPECT_GT(statistics.body.size(), 1024U);
  EXPECT_EQ(statistics.headers, "");
  const HttpReply metrics = Ask("GET", "/metrics", {}, std::nullopt, "gzip, deflate");
  EXPECT_EQ(metrics.headers, "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n");
  EXPECT_EQ(Ask("GET", "/metrics").headers, "Vary: Accept-Encoding\r\n");
}

TEST_F(RestApiTest, MoreJsonThanAParserTakesIsTooLarge) {
  // Nobody reads the text: there is none.
  const auto code = [&](const std::string& target, const std::string& json_length) {
    HttpRequest request;
    request.method = "POST";
    request.target = target;
    if (!json_length.empty()) request.inference_header_length = json_length;
    request.body = MakeBody("{}");
    request.body.size = kMaxJsonBytes + 1;
    auto responder = std::make_shared<TestResponder>();
    api_.Handle(std::move(request), responder);
    return responder->replies.at(0).code;
  };
  EXPECT_EQ(code("/v2/models/dummy/infer", ""), 413);
  EXPECT_EQ(code("/v2/models/dummy/infer", std::to_string(kMaxJsonBytes + 1)), 413);
  EXPECT_EQ(code("/v2/models/dummy/infer", std::to_string(kMaxJsonBytes + 2)), 413);
  EXPECT_EQ(code("/v1/models/dummy:predict", ""), 413);
  // What lies behind the JSON does not count.
  EXPECT_EQ(code("/v2/models/dummy/infer", "2"), 400);
}

TEST_F(RestApiTest, AClientThatGoesAwayCancels) {
  auto responder = std::make_shared<TestResponder>();
  api_.Handle({"POST", "/v2/models/held/infer", "", "", std::nullopt, MakeBody(kInferTen)}, responder);
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  EXPECT_TRUE(responder->replies.empty());
  responder->cancel();
  ASSERT_EQ(responder->replies.size(), 1U);
  EXPECT_EQ(responder->replies[0].code, 499);
  runtime_.CompleteAll();
  EXPECT_EQ(responder->replies.size(), 1U);
  responder->cancel();
}

TEST_F(RestApiTest, DeadlinesAndDeviceErrorsHaveTheirCodes) {
  FakeRuntime::Script failing;
  failing.facts.cpu_only = false;
  failing.async = FakeRuntime::Async::kInline;
  failing.infer_error = Error(StatusCode::kInternal, "the device said no");
  runtime_.Set("held", failing);
  EXPECT_EQ(Code("POST", "/v2/models/held/infer", kInferTen), 500);
}

TEST_F(RestApiTest, MutatedRequestsNeverHarm) {
  std::mt19937 random(11);
  const std::string targets[] = {"/v2/models/dummy/infer", "/v1/models/dummy:predict"};
  const std::string bodies[] = {
      "{\"id\":\"x\",\"parameters\":{\"timeout\":900000000,\"binary_data_output\":true},\"outputs\":[{\"name\":\"a\","
      "\"parameters\":{\"binary_data\":false}}],"
      "\"inputs\":[{\"name\":\"b\",\"shape\":[1,10],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":40}}]}" +
          std::string(40, '\1'),
      "{\"signature_name\":\"s\",\"instances\":[{\"b\":[0.5,1e3,-2,NaN,Infinity,{\"b64\":\"YWI=\"},5,6,7,true]}],\"inputs\":"
      "null}"};
  for (int i = 0; i < 6000; ++i) {
    std::string body = bodies[i % 2];
    for (int m = 0; m < i % 5; ++m) {
      const size_t at = random() % body.size();
      switch (random() % 4) {
        case 0: body[at] = static_cast<char>(random()); break;
        case 1: body.erase(at, 1 + random() % 7); break;
        case 2: body.insert(at, 1, "[]{}\",:0-e"[random() % 10]); break;
        default: body.insert(at, body.substr(random() % body.size(), random() % 20));
      }
    }
    std::optional<size_t> length;
    if (i % 2 == 0) length = body.size() - std::min<size_t>(body.size(), i % 3 ? 40 : random() % 80);
    const HttpReply reply = Ask("POST", targets[i % 2], body, length);
    EXPECT_TRUE(reply.code == 200 || reply.code == 400) << reply.code << " " << body << reply.body.Flatten();
  }
}

}  // namespace
}  // namespace switchyard
