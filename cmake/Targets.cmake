# One library per folder of src/, and one test binary per folder, so that a change relinks little.

add_library(switchyard_options INTERFACE)
target_include_directories(switchyard_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
# The last two warn of standard headers (g++ 12) where nothing is wrong.
target_compile_options(switchyard_options INTERFACE -Wall -Wextra -Wnon-virtual-dtor -Wno-missing-field-initializers
  -Wno-maybe-uninitialized -Wno-restrict
  $<$<BOOL:${SWITCHYARD_WERROR}>:-Werror>)
target_compile_definitions(switchyard_options INTERFACE SWITCHYARD_VERSION="${PROJECT_VERSION}")
if(SWITCHYARD_SANITIZE)
  target_compile_options(switchyard_options INTERFACE -fsanitize=${SWITCHYARD_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -Wno-error)
  target_link_options(switchyard_options INTERFACE -fsanitize=${SWITCHYARD_SANITIZE})
endif()

# switchyard_library(NAME SOURCES a.cpp ... DEPS public ... PRIVATE_DEPS private ...)
function(switchyard_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  # When files are joined, a type of a file's own that a class of the same file holds looks as if it came from a header.
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${SWITCHYARD_JOIN_FILES} UNITY_BUILD_BATCH_SIZE 12)
  if(SWITCHYARD_JOIN_FILES)
    target_compile_options(${name} PRIVATE -Wno-subobject-linkage)
  endif()
  target_link_libraries(${name} PUBLIC switchyard_options ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# switchyard_test(NAME SOURCES a_test.cpp ... DEPS ...): one CTest entry per test binary; it must end within two minutes.
function(switchyard_test name)
  if(NOT SWITCHYARD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE switchyard_options ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endfunction()
