// What the processes below one use together, as /proc says.
#pragma once
#include <sys/types.h>

#include <cstdint>

namespace raison {

struct TreeUsage {
  int64_t tasks = 0;  // processes and threads
  int64_t memory_bytes =
      0;  // anonymous and shared memory, swap and page tables; pages that a fork has not yet copied count twice
};

// Of process `root` and all below it. Processes that end meanwhile are left out. Stops counting beyond `most_tasks`.
TreeUsage tree_usage(pid_t root, int64_t most_tasks);

// True where /proc names a process's children (CONFIG_PROC_CHILDREN), without which nothing above can be known.
bool tree_usage_works();

// Sockets in the network namespace of process `root`, those in flight included; 0 if that can't be seen.
int64_t sockets_of(pid_t root);

// Files of the file system in memory of `size` bytes at `path` as process `root` sees it; 0 if there is none, as before it was mounted.
int64_t files_below(pid_t root, const char* path, int64_t size);

}  // namespace raison
