#include "pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace neuvid {
namespace {

using std::size_t;

constexpr size_t max_workers = 255;

struct Job {
  const std::function<void(size_t)>& work;
  const size_t parts;
  std::atomic<size_t> next = 0;
  size_t helpers = 0;  // workers inside; guarded by the pool, as is error
  std::exception_ptr error = nullptr;
};

class Pool {
 public:
  // Never destroyed: its threads may outlive static objects, and do not exist after a fork.
  static Pool& shared() {
    static Pool& pool = *new Pool;
    return pool;
  }

  void run(Job& job, size_t helpers) {
    {
      std::lock_guard lock(mutex_);
      while (workers_ < std::min(helpers, max_workers)) {
        std::thread(&Pool::serve, this).detach();
        ++workers_;
      }
      offers_.insert(offers_.end(), helpers, &job);
    }
    helpers > 1 ? offered_.notify_all() : offered_.notify_one();
    take_parts(job);
    std::unique_lock lock(mutex_);
    std::erase(offers_, &job);
    left_.wait(lock, [&] { return job.helpers == 0; });
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      offered_.wait(lock, [&] { return !offers_.empty(); });
      Job& job = *offers_.front();
      offers_.pop_front();
      ++job.helpers;
      lock.unlock();
      take_parts(job);
      lock.lock();
      --job.helpers;
      left_.notify_all();
    }
  }

  void take_parts(Job& job) {
    try {
      for (size_t part; (part = job.next++) < job.parts;) job.work(part);
    } catch (...) {
      job.next = job.parts;
      std::lock_guard lock(mutex_);
      job.error = std::current_exception();
    }
  }

  std::mutex mutex_;
  std::condition_variable offered_, left_;
  std::deque<Job*> offers_;
  size_t workers_ = 0;
};

}  // namespace

void run_parts(size_t threads, size_t parts, const std::function<void(size_t)>& work) {
  const size_t used = std::min(threads, parts);
  if (used <= 1) {
    for (size_t part = 0; part < parts; ++part) work(part);
    return;
  }
  Job job{work, parts};
  Pool::shared().run(job, used - 1);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace neuvid
