// Variables of the environment.
#pragma once

#include <cstdlib>
#include <string>

namespace switchyard {

// Empty when it is not set.
inline std::string EnvironmentValue(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

// The authorities whose certificates are trusted, in place of the system's; empty: the system's. For every connection that this
// program opens.
inline std::string AuthoritiesFile() { return EnvironmentValue("SSL_CERT_FILE"); }

}  // namespace switchyard
