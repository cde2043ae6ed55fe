// Keys for AWS and what is compatible with it, from where its other clients take them.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/status.h"
#include "fetch/http.h"

namespace switchyard {

struct AwsKeys {
  std::string id, secret, token;
  std::optional<std::chrono::system_clock::time_point> expires;
};

// The first of these that is there: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a web identity
// (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN); AWS_PROFILE, or "default", of AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE
// (~/.aws/credentials, ~/.aws/config); a container's (AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI); the machine's, by
// the instance metadata service, where `ask_machine` says so and AWS_EC2_METADATA_DISABLED does not say no.
// For one thread at a time.
class AwsCredentials {
 public:
  // Errors: a profile that was named is not there, or has no keys.
  static StatusOr<AwsCredentials> FromEnvironment(bool ask_machine);

  // Nothing: there are none, calls go unsigned. Asks the service that gives them out again before they expire. Blocks.
  StatusOr<std::optional<AwsKeys>> Current(HttpClient& client);
  // Those that were given out are asked for anew next time: somebody may have taken them back. Says whether there were any.
  bool Renew();
  // AWS_REGION, AWS_DEFAULT_REGION, the profile's, else us-east-1.
  const std::string& region() const { return region_; }

 private:
  enum class Kind { kNone, kKeys, kWebIdentity, kContainer, kMachine };

  Status ReadProfile();
  StatusOr<AwsKeys> FromWebIdentity(HttpClient& client) const;
  StatusOr<AwsKeys> FromContainer(HttpClient& client) const;
  StatusOr<std::optional<AwsKeys>> FromMachine() const;

  Kind kind_ = Kind::kNone;
  AwsKeys keys_;  // the ones that were given out last, where they expire
  std::string region_;
};

}  // namespace switchyard
