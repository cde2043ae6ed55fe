# The folder's REST half; included by whichever CMakeLists.txt comes first.
switchyard_library(sy_protocol_kserve_rest
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/rest_decode.cpp ${CMAKE_CURRENT_LIST_DIR}/rest_encode.cpp
          ${CMAKE_CURRENT_LIST_DIR}/rest_metadata.cpp
  DEPS sy_protocol_rest_base sy_protocol_kserve sy_serving)
