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

}  // namespace switchyard
