#include "repository/cloud/aws_credentials.h"

#include <absl/time/time.h>

#include <boost/property_tree/ini_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/environment.h"
#include "base/log.h"
#include "repository/cloud/store_answers.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using boost::property_tree::ptree;

// Keys are asked for again so long before they end.
constexpr auto kRenewKeysEarly = std::chrono::minutes(5);

std::string FirstSet(std::initializer_list<const char*> names, std::string otherwise = {}) {
  for (const char* name : names) {
    if (std::string value = EnvironmentValue(name); !value.empty()) return value;
  }
  return otherwise;
}

StatusOr<std::string> ReadSecretFile(const std::string& path, const char* variable) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  if (text.empty()) return Error(StatusCode::kFailedPrecondition, "{} names {}, which cannot be read", variable, path);
  return text;
}

StatusOr<ptree> ReadIni(const std::string& path) {
  ptree tree;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return tree;
  try {
    boost::property_tree::read_ini(path, tree);
  } catch (const boost::property_tree::ini_parser_error& fault) {
    return Error(StatusCode::kFailedPrecondition, "{}: line {}: {}", path, fault.line(), fault.message());
  }
  return tree;
}

// Names of sections have dots in them, which are paths to the library.
const ptree* Section(const ptree& tree, const std::string& name) {
  for (const auto& [key, section] : tree) {
    if (key == name) return &section;
  }
  return nullptr;
}
std::string ValueIn(const ptree* section, const std::string& key) {
  if (section == nullptr) return {};
  const auto found = section->find(key);
  return found == section->not_found() ? std::string() : found->second.data();
}

Status Checked(const AwsKeys& keys, std::string_view source) {
  if (!keys.id.empty() && !keys.secret.empty()) return absl::OkStatus();
  return Error(StatusCode::kUnavailable, "{}: its answer has no keys", source);
}

std::optional<std::chrono::system_clock::time_point> Moment(const std::string& text) {
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) return std::nullopt;
  return absl::ToChronoTime(time);
}

StatusOr<AwsKeys> KeysOfJson(const HttpAnswer& answer) {
  if (answer.status != 200) return StoreFault(answer, answer.url, "");
  SY_ASSIGN_OR_RETURN(const rapidjson::Document json, ParseJsonObject(answer.body, answer.url));
  AwsKeys keys{JsonText(json, "AccessKeyId"), JsonText(json, "SecretAccessKey"), JsonText(json, "Token"),
               Moment(JsonText(json, "Expiration"))};
  SY_RETURN_IF_ERROR(Checked(keys, answer.url));
  return keys;
}

}  // namespace

Status AwsCredentials::ReadProfile() {
  const std::string named = FirstSet({"AWS_PROFILE"});
  const std::string profile = named.empty() ? "default" : named;
  const std::string home = EnvironmentValue("HOME") + "/.aws/";
  const std::string credentials_path = FirstSet({"AWS_SHARED_CREDENTIALS_FILE"}, home + "credentials");
  const std::string config_path = FirstSet({"AWS_CONFIG_FILE"}, home + "config");
  const StatusOr<ptree> credentials_read = ReadIni(credentials_path);
  if (!credentials_read.ok() && kind_ == Kind::kNone) return credentials_read.status();
  const StatusOr<ptree> config_read = ReadIni(config_path);
  if (!config_read.ok()) LogWarning("{}; the file is not used", Message(config_read.status()));
  const ptree credentials = credentials_read.value_or(ptree());
  const ptree config = config_read.value_or(ptree());
  const ptree* const keys = Section(credentials, profile);
  const ptree* const more = Section(config, profile == "default" ? profile : "profile " + profile);
  if (!named.empty() && keys == nullptr && more == nullptr && kind_ == Kind::kNone) {
    return Error(StatusCode::kFailedPrecondition, "AWS_PROFILE is {}, which neither {} nor {} has", named, credentials_path,
                 config_path);
  }
  if (region_.empty()) region_ = ValueIn(keys, "region");
  if (region_.empty()) region_ = ValueIn(more, "region");
  if (kind_ != Kind::kNone) return absl::OkStatus();
  for (const ptree* section : {keys, more}) {
    keys_ = {ValueIn(section, "aws_access_key_id"), ValueIn(section, "aws_secret_access_key"),
             ValueIn(section, "aws_session_token"), std::nullopt};
    if (keys_.id.empty() || keys_.secret.empty()) continue;
    kind_ = Kind::kKeys;
    return absl::OkStatus();
  }
  if (named.empty()) return absl::OkStatus();
  return Error(
      StatusCode::kFailedPrecondition,
      "the profile {} of {} has no aws_access_key_id with aws_secret_access_key; other kinds of profiles are not taken",
      profile, keys != nullptr ? credentials_path : config_path);
}

StatusOr<AwsCredentials> AwsCredentials::FromEnvironment(bool ask_machine) {
  AwsCredentials found;
  found.region_ = FirstSet({"AWS_REGION", "AWS_DEFAULT_REGION"});
  found.keys_ = {EnvironmentValue("AWS_ACCESS_KEY_ID"), EnvironmentValue("AWS_SECRET_ACCESS_KEY"),
                 EnvironmentValue("AWS_SESSION_TOKEN"), std::nullopt};
  if (found.keys_.id.empty() != found.keys_.secret.empty()) {
    return Error(StatusCode::kFailedPrecondition, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together; {} is not set",
                 found.keys_.id.empty() ? "the first" : "the second");
  }
  if (!found.keys_.id.empty()) {
    found.kind_ = Kind::kKeys;
  } else if (!FirstSet({"AWS_WEB_IDENTITY_TOKEN_FILE"}).empty() && !FirstSet({"AWS_ROLE_ARN"}).empty()) {
    found.kind_ = Kind::kWebIdentity;
  }
  SY_RETURN_IF_ERROR(found.ReadProfile());
  if (found.region_.empty()) found.region_ = "us-east-1";
  if (found.kind_ != Kind::kNone) return found;
  if (!FirstSet({"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"}).empty()) {
    found.kind_ = Kind::kContainer;
  } else if (ask_machine && EnvironmentValue("AWS_EC2_METADATA_DISABLED") != "true") {
    found.kind_ = Kind::kMachine;
  }
  return found;
}

StatusOr<std::optional<AwsKeys>> AwsCredentials::Current(HttpClient& client) {
  if (kind_ == Kind::kNone) return std::optional<AwsKeys>();
  const bool there = !keys_.id.empty();
  if (there && (!keys_.expires || *keys_.expires - std::chrono::system_clock::now() > kRenewKeysEarly))
    return std::optional(keys_);
  StatusOr<AwsKeys> next = keys_;
  if (kind_ == Kind::kWebIdentity) next = FromWebIdentity(client);
  if (kind_ == Kind::kContainer) next = FromContainer(client);
  if (kind_ == Kind::kMachine) {
    StatusOr<std::optional<AwsKeys>> machine = FromMachine();
    if (machine.ok() && !machine->has_value() && !there) {
      kind_ = Kind::kNone;  // nobody is asked there again
      return std::optional<AwsKeys>();
    }
    if (machine.ok() && machine->has_value()) {
      next = **std::move(machine);
    } else {
      next = machine.ok() ? Error(StatusCode::kUnavailable, "the machine's role gives no keys now") : machine.status();
    }
  }
  // Those that are there may be good for a while yet.
  if (!next.ok() && !(there && *keys_.expires > std::chrono::system_clock::now())) return next.status();
  if (next.ok()) keys_ = *std::move(next);
  return std::optional(keys_);
}

bool AwsCredentials::Renew() {
  if (kind_ == Kind::kNone || kind_ == Kind::kKeys || keys_.id.empty()) return false;
  keys_ = {};
  return true;
}

// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
StatusOr<AwsKeys> AwsCredentials::FromWebIdentity(HttpClient& client) const {
  SY_ASSIGN_OR_RETURN(const std::string token,
                      ReadSecretFile(EnvironmentValue("AWS_WEB_IDENTITY_TOKEN_FILE"), "AWS_WEB_IDENTITY_TOKEN_FILE"));
  FetchRequest request{.method = "POST",
                       .url = FirstSet({"AWS_ENDPOINT_URL_STS"}, fmt::format("https://sts.{}.amazonaws.com{}/", region_,
                                                                             region_.starts_with("cn-") ? ".cn" : "")),
                       .headers = {"Content-Type: application/x-www-form-urlencoded"},
                       .secret_headers = {},
                       .follow = false};
  request.body =
      fmt::format("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
                  EncodeComponent(EnvironmentValue("AWS_ROLE_ARN")),
                  EncodeComponent(FirstSet({"AWS_ROLE_SESSION_NAME"}, "switchyard")), EncodeComponent(token));
  SY_ASSIGN_OR_RETURN(const HttpAnswer answer, client.Call(request));
  if (answer.status != 200) return StoreFault(answer, "the role AWS_ROLE_ARN for the web identity", "");
  pugi::xml_document xml;
  SY_RETURN_IF_ERROR(ParseXml(answer, &xml));
  const pugi::xml_node found =
      xml.child("AssumeRoleWithWebIdentityResponse").child("AssumeRoleWithWebIdentityResult").child("Credentials");
  AwsKeys keys{found.child_value("AccessKeyId"), found.child_value("SecretAccessKey"), found.child_value("SessionToken"),
               Moment(found.child_value("Expiration"))};
  SY_RETURN_IF_ERROR(Checked(keys, answer.url));
  return keys;
}

// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
StatusOr<AwsKeys> AwsCredentials::FromContainer(HttpClient& client) const {
  const std::string relative = EnvironmentValue("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  FetchRequest request{
      .url = relative.empty() ? EnvironmentValue("AWS_CONTAINER_CREDENTIALS_FULL_URI") : "http://169.254.170.2" + relative,
      .follow = false,
      .no_proxy = true};
  std::string token = EnvironmentValue("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (const std::string file = EnvironmentValue("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty()) {
    SY_ASSIGN_OR_RETURN(token, ReadSecretFile(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
  }
  if (!token.empty()) request.secret_headers.push_back("Authorization: " + token);
  SY_ASSIGN_OR_RETURN(const HttpAnswer answer, client.Call(request));
  return KeysOfJson(answer);
}

// Version 2 of https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
StatusOr<std::optional<AwsKeys>> AwsCredentials::FromMachine() const {
  // Elsewhere nobody answers there: for that no request waits long.
  HttpClient brief({.connect_timeout = std::chrono::seconds(1), .silence = std::chrono::seconds(2)});
  const std::string service = FirstSet({"AWS_EC2_METADATA_SERVICE_ENDPOINT"}, "http://169.254.169.254");
  FetchRequest request{.method = "PUT",
                       .url = service + "/latest/api/token",
                       .headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"},
                       .secret_headers = {},
                       .follow = false,
                       .no_proxy = true};
  const StatusOr<HttpAnswer> token = brief.Call(request);
  if (!token.ok() || token->status != 200) return std::optional<AwsKeys>();
  request.method = "GET";
  request.headers.clear();
  request.secret_headers = {"X-aws-ec2-metadata-token: " + token->body};
  const std::string roles = service + "/latest/meta-data/iam/security-credentials/";
  request.url = roles;
  SY_ASSIGN_OR_RETURN(const HttpAnswer role, brief.Call(request));
  if (role.status == 404) return std::optional<AwsKeys>();  // the machine has no role
  if (role.status != 200) return StoreFault(role, "the machine's role", "");
  request.url = roles + EncodeComponent(role.body.substr(0, role.body.find('\n')));
  SY_ASSIGN_OR_RETURN(const HttpAnswer answer, brief.Call(request));
  SY_ASSIGN_OR_RETURN(AwsKeys keys, KeysOfJson(answer));
  return std::optional(std::move(keys));
}

}  // namespace switchyard
