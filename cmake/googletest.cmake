# GoogleTest for the torch-free rooms, compiled here rather than taken as Debian's library, so that
# the sanitizers see inside it.
#
#   npu_sim_cpp_test(name sources... [LIBRARIES library...])   a test program, run by ctest

set(NPU_SIM_GOOGLETEST_DIR /usr/src/googletest CACHE PATH "Sources of GoogleTest (libgtest-dev)")
set(gtest ${NPU_SIM_GOOGLETEST_DIR}/googletest)
set(gmock ${NPU_SIM_GOOGLETEST_DIR}/googlemock)
if(NOT EXISTS ${gtest}/src/gtest-all.cc)
  message(FATAL_ERROR "torch_npu_sim: expected GoogleTest in ${NPU_SIM_GOOGLETEST_DIR}, got none; "
                      "install libgtest-dev or set NPU_SIM_GOOGLETEST_DIR")
endif()

find_package(Threads REQUIRED)
add_library(npu_sim_googletest STATIC ${gtest}/src/gtest-all.cc ${gmock}/src/gmock-all.cc
                                      ${gmock}/src/gmock_main.cc)
target_include_directories(npu_sim_googletest SYSTEM PUBLIC ${gtest}/include ${gmock}/include
                           PRIVATE ${gtest} ${gmock})
target_link_libraries(npu_sim_googletest PUBLIC Threads::Threads)
if(NPU_SIM_SANITIZE)
  target_compile_options(npu_sim_googletest PRIVATE -fsanitize=${NPU_SIM_SANITIZE})
endif()
include(GoogleTest)

function(npu_sim_cpp_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "" LIBRARIES)
  add_executable(${name} ${test_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE npu_sim_options ${test_LIBRARIES} npu_sim_googletest)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60)
endfunction()
