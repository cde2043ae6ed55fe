# What is linked: Debian's packages, and OpenVINO from its wheel (fetched, verified and unpacked by scripts/fetch_openvino
# into .deps/, unless OpenVINO_DIR names another one).
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(simdjson REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(CLI11 REQUIRED)
find_package(CURL REQUIRED)
find_package(pugixml REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_path(RAPIDJSON_INCLUDE_DIR rapidjson/document.h REQUIRED)

if(NOT OpenVINO_DIR)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/fetch_openvino
    RESULT_VARIABLE fetched OUTPUT_VARIABLE openvino_root OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT fetched EQUAL 0)
    message(FATAL_ERROR "OpenVINO is not there and could not be fetched (see the message above). "
      "Give -DOpenVINO_DIR=<folder of OpenVINOConfig.cmake>, or make the network reachable once.")
  endif()
  set(OpenVINO_DIR ${openvino_root}/openvino/cmake CACHE PATH "Folder of OpenVINOConfig.cmake")
endif()
find_package(OpenVINO REQUIRED COMPONENTS Runtime)
# The one that OpenVINO runs on: loading limits its threads.
find_package(TBB REQUIRED CONFIG HINTS ${OpenVINO_DIR})

if(SWITCHYARD_TESTS)
  find_package(GTest REQUIRED)
endif()
