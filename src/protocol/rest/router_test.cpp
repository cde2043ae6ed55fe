#include "protocol/rest/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using ::testing::HasSubstr;

struct Known {
  const char* method;
  const char* target;
  RouteKind kind;
  const char* model = "";
  int64_t version = 0;  // 0: none
};

TEST(Router, FindsEveryRoute) {
  const Known known[] = {
      {"GET", "/v2/health/live", RouteKind::kServerLive},
      {"HEAD", "/v2/health/ready?x=1", RouteKind::kServerReady},
      {"GET", "/v2", RouteKind::kServerMetadata},
      {"GET", "/v2/", RouteKind::kServerMetadata},
      {"GET", "/v2/models/m", RouteKind::kModelMetadata, "m"},
      {"GET", "/v2/models/m/", RouteKind::kModelMetadata, "m"},
      {"GET", "/v2/models/m/versions/3", RouteKind::kModelMetadata, "m", 3},
      {"GET", "/v2/models/m/versions/0/", RouteKind::kModelMetadata, "m"},
      {"GET", "/v2/models/m/ready", RouteKind::kModelReady, "m"},
      {"GET", "/v2/models/versions/versions/007/ready", RouteKind::kModelReady, "versions", 7},
      {"GET", "/v2/models/stats", RouteKind::kStatistics},
      {"GET", "/v2/models/m/stats", RouteKind::kStatistics, "m"},
      {"GET", "/v2/models/m/versions/2/stats", RouteKind::kStatistics, "m", 2},
      {"GET", "/v2/models/m/versions/%32/ready", RouteKind::kModelReady, "m", 2},
      {"GET", "/v2/models/stats/config", RouteKind::kModelConfig, "stats"},
      {"GET", "/v2/models/m/versions/2/config", RouteKind::kModelConfig, "m", 2},
      {"POST", "/v2/models/M%20x%2Fy%3a/infer", RouteKind::kInfer, "M x/y:"},
      {"POST", "/v2/models/m/versions/9223372036854775807/infer", RouteKind::kInfer, "m", INT64_MAX},
      {"POST", "http://host:1/v2/models/m/infer", RouteKind::kInfer, "m"},
      {"GET", "/v1/models/m", RouteKind::kTfsStatus, "m"},
      {"GET", "/v1/models/m..n", RouteKind::kTfsStatus, "m..n"},
      {"POST", "/v2/repository/index", RouteKind::kRepositoryIndex, ""},
      {"POST", "/v2/repository/models/a%2Fb/load", RouteKind::kModelLoad, "a/b"},
      {"POST", "/v2/repository/models/m/unload", RouteKind::kModelUnload, "m"},
      {"GET", "/v1/models/m/versions/2", RouteKind::kTfsStatus, "m", 2},
      {"GET", "/v1/models/m/metadata", RouteKind::kTfsMetadata, "m"},
      {"GET", "/v1/models/m/versions/2/metadata", RouteKind::kTfsMetadata, "m", 2},
      {"POST", "/v1/models/m:predict", RouteKind::kTfsPredict, "m"},
      {"POST", "/v1/models/m/versions/2:predict", RouteKind::kTfsPredict, "m", 2},
      {"POST", "/v1/models/m/versions/1%32:predict", RouteKind::kTfsPredict, "m", 12},
      {"POST", "/v1/models/m:classify", RouteKind::kTfsUnsupported, "m"},
      {"POST", "/v1/models/m:regress", RouteKind::kTfsUnsupported, "m"},
      {"POST", "//v1/models/m:predict", RouteKind::kTfsPredict, "m"},
      {"GET", "//v1/models/m/versions/2/metadata/", RouteKind::kTfsMetadata, "m", 2},
      {"POST", "http://host:1//v2/models/m/infer", RouteKind::kInfer, "m"},
      {"GET", "///v2", RouteKind::kServerMetadata},
      {"GET", "//metrics", RouteKind::kMetrics},
      {"GET", "/v1/config", RouteKind::kConfigStatus},
      {"POST", "/v1/config/reload", RouteKind::kConfigReload},
      {"GET", "/metrics", RouteKind::kMetrics},
      {"GET", "/v1/devices", RouteKind::kDevices},
      {"GET", "/v1/models/m/placement", RouteKind::kPlacement, "m"},
      {"GET", "/v1/models/m/versions/2/placement", RouteKind::kPlacement, "m", 2},
      {"HEAD", "/metrics/?x=1", RouteKind::kMetrics},
      {"GET", "/v2/systemsharedmemory/status", RouteKind::kRegionStatus},
      {"GET", "/v2/systemsharedmemory/region/r/status", RouteKind::kRegionStatus},
      {"POST", "/v2/systemsharedmemory/region/r/register", RouteKind::kRegionAdd},
      {"POST", "/v2/systemsharedmemory/region/r/unregister", RouteKind::kRegionRemove},
      {"POST", "/v2/systemsharedmemory/unregister", RouteKind::kRegionRemove},
      {"GET", "/v2/cudasharedmemory/status", RouteKind::kRegionStatus},
  };
  for (const Known& one : known) {
    const RouteResult found = FindRoute(one.method, one.target);
    ASSERT_FALSE(found.answer) << one.target << " " << found.answer->body.Flatten();
    EXPECT_EQ(found.route.kind, one.kind) << one.target;
    EXPECT_EQ(found.route.model, one.model) << one.target;
    EXPECT_EQ(found.route.version.value_or(0), one.version) << one.target;
  }
}

TEST(Router, RefusesTheRest) {
  struct Refused {
    const char* method;
    const char* target;
    int code;
  };
  const Refused refused[] = {
      {"GET", "/", 404},
      {"GET", "//", 404},
      {"GET", "//v3", 404},
      {"GET", "//v1//models/m", 404},
      {"GET", "//../v2", 400},
      {"GET", "/metrics/x", 404},
      {"GET", "/v3/models", 404},
      {"GET", "/v2/nothing", 404},
      {"GET", "/v2/models", 404},
      {"GET", "/v2/models/m/configs", 404},
      {"POST", "/v2/models/m/stats", 405},
      {"GET", "/v2/models/m/ready/x", 404},
      {"GET", "/v2//models/m", 404},
      {"GET", "/v1/models", 404},
      {"POST", "/v1/models/:predict", 404},
      {"POST", "/v1/models/m:explode", 404},
      {"POST", "/v1/models/m/metadata:predict", 404},
      {"GET", "/v1/models/m/versions/x", 400},
      {"POST", "/v1/models/m/versions/1x:predict", 400},
      {"GET", "/v1/models/m/labels/%2", 400},
      {"GET", "/v2/models/m/versions/%2", 400},
      {"GET", "/v2/repository/index", 405},
      {"POST", "/v2/repository/models/m/reload", 404},
      {"POST", "/v2/repository/models//load", 404},
      {"GET", "/v2/models/m/labels/stable", 404},
      {"GET", "/v2/models/../m", 400},
      {"GET", "/v1/%2e%2E/models", 400},
      {"GET", "/v2/models/m/..", 400},
      {"GET", "/v2/models/m%zz", 400},
      {"GET", "nowhere", 400},
      {"GET", "", 400},
      {"POST", "/v2/health/live", 405},
      {"POST", "/metrics", 405},
      {"GET", "/v2/models/m/infer", 405},
      {"DELETE", "/v1/models/m", 405},
      {"GET", "/v1/models/m:predict", 405},
      {"PATCH", "/v1/config/reload", 405},
      {"get", "/v2", 405},
      {"GET", "/v2/systemsharedmemory", 404},
      {"GET", "/v2/systemsharedmemory/region/r", 404},
      {"POST", "/v2/systemsharedmemory/register", 404},
      {"POST", "/v2/systemsharedmemory/region//register", 404},
      {"POST", "/v2/systemsharedmemory/region/%zz/register", 400},
      {"GET", "/v2/systemsharedmemory/region/../status", 400},
      {"POST", "/v2/systemsharedmemory/status", 405},
      {"GET", "/v2/cudasharedmemory/unregister", 405},
  };
  for (const Refused& one : refused) {
    const RouteResult found = FindRoute(one.method, one.target);
    ASSERT_TRUE(found.answer) << one.target;
    EXPECT_EQ(found.answer->code, one.code) << one.target;
    EXPECT_THAT(found.answer->body.Flatten(), HasSubstr("{\"error\":\"")) << one.target;
  }
}

TEST(Router, SaysThatAVersionOrLabelIsEmpty) {
  const auto answer = [](const char* method, const char* target) {
    const RouteResult found = FindRoute(method, target);
    return found.answer && found.answer->code == 400 ? found.answer->body.Flatten() : "";
  };
  const char* const version = "The version in the path is empty - Expected: /versions/<version>, or no /versions";
  EXPECT_THAT(answer("POST", "/v2/models/m/versions//infer"), HasSubstr(version));
  EXPECT_THAT(answer("GET", "/v2/models/m/versions//ready"), HasSubstr(version));
  EXPECT_THAT(answer("GET", "/v1/models/m/versions//metadata"), HasSubstr(version));
  EXPECT_THAT(answer("POST", "/v1/models/m/versions/:predict"), HasSubstr(version));
  EXPECT_THAT(answer("POST", "/v1/models/m/labels/:predict"), HasSubstr("The label in the path is empty"));
}

TEST(Router, FindsLabels) {
  const auto label = [](const char* method, const char* target) {
    const RouteResult found = FindRoute(method, target);
    if (found.answer) return std::to_string(found.answer->code);
    return found.route.label.name + (found.route.label.or_number ? "?" : "");
  };
  EXPECT_EQ(label("POST", "/v1/models/m/labels/stable:predict"), "stable");
  EXPECT_EQ(label("GET", "/v1/models/m/labels/stable"), "stable");
  EXPECT_EQ(label("GET", "/v1/models/m/labels/a%20b/metadata"), "a b");
  EXPECT_EQ(label("POST", "/v2/models/m/versions/stable/infer"), "stable?");
  EXPECT_EQ(label("GET", "/v2/models/m/versions/-/ready"), "-?");
  EXPECT_EQ(label("GET", "/v1/models/m/versions/stable"), "400");
}

TEST(Router, FindsRegions) {
  EXPECT_EQ(FindRoute("GET", "/v2/systemsharedmemory/region/a%2Fb%20c/status").route.region, "a/b c");
  EXPECT_EQ(FindRoute("GET", "/v2/systemsharedmemory/status").route.region, "");
  EXPECT_FALSE(FindRoute("GET", "/v2/systemsharedmemory/status").route.cuda);
  EXPECT_TRUE(FindRoute("POST", "/v2/cudasharedmemory/region/r/register").route.cuda);
}

TEST(Router, NamesTheAllowedMethods) {
  EXPECT_EQ(FindRoute("PUT", "/v2/models/m/infer").answer->headers, "Allow: POST, OPTIONS\r\n");
  EXPECT_EQ(FindRoute("OPTIONS", "/v2/models/m").answer->headers, "Allow: GET, HEAD, OPTIONS\r\n");
  EXPECT_EQ(FindRoute("OPTIONS", "/v2/models/m").answer->code, 200);
  EXPECT_EQ(FindRoute("OPTIONS", "*").answer->code, 200);
}

}  // namespace
}  // namespace switchyard
