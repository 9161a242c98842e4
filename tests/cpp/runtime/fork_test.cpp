#include "runtime/fork.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "chip_for_tests.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {
namespace {

// Exit status of a child that runs `act`; 1 when act() says false.
template <class Act>
int status_of_child(Act act) {
  const pid_t child = fork();
  if (child == 0) _exit(act() ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

using ForkTest = RuntimeTest;

TEST_F(ForkTest, a_child_forked_after_use_is_in_a_bad_fork) {
  mark_used();
  EXPECT_TRUE(used());
  EXPECT_FALSE(in_bad_fork());
  EXPECT_EQ(status_of_child([] { return in_bad_fork() && device_count() == 8; }), 0);
  EXPECT_FALSE(in_bad_fork());
}

TEST_F(ForkTest, memory_can_be_freed_in_the_child) {
  void* memory = allocate({0, 0}, 4096);
  EXPECT_EQ(status_of_child([&] {
              deallocate(memory);
              return allocated_size(memory) == 0;
            }),
            0);
  EXPECT_EQ(allocated_size(memory), 4096U);
  deallocate(memory);
}

TEST_F(ForkTest, locks_are_free_in_the_child_of_a_busy_process) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer does not support fork with threads";
#endif
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      deallocate(allocate({0, 0}, 4096));
      record({"test::op", {0, 0}}, streaming(0));
    }
  });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(status_of_child([] {
                alarm(20);
                deallocate(allocate({0, 0}, 4096));
                synchronize({0, 0});
                return true;
              }),
              0);
  }
  stop = true;
  busy.join();
}

}  // namespace
}  // namespace npu_sim::runtime
